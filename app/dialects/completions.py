"""Legacy ``/v1/completions`` over Chat.

A prompt becomes one user message, and the assistant's words become ``text``. What only a raw text
model can do (token arrays, several prompts, suffix, echo, best of, log probabilities) is refused
with the field's name. Nothing is ever passed through verbatim: ``Peek.variant`` is
``completions``.

Source: https://platform.openai.com/docs/api-reference/completions and the official SDK's types.
"""

from __future__ import annotations

import re

from app.canonical.events import (
    Annotated,
    Event,
    Failed,
    Finished,
    PartStarted,
    Ping,
    Started,
    TextDelta,
    UsageSeen,
)
from app.canonical.loss import Loss
from app.canonical.parts import Json, JsonObject, Refusal, Text
from app.canonical.request import ChatRequest
from app.canonical.response import ChatResponse, StopReason
from app.canonical.usage import Usage
from app.dialects.base import (
    Encoded,
    Head,
    LossList,
    Peek,
    ReplyContext,
    Route,
    StreamEncoder,
    dump,
)
from app.dialects.citations import note_lost
from app.dialects.openai_chat import ChatDialect
from app.dialects.openai_chat_answer import finish_reason_of
from app.dialects.openai_chat_thought import encode_usage
from app.dialects.openai_chat_values import NAME, get_flag, get_int, rest_of
from app.dialects.openai_chat_writer import escape_lines
from app.dialects.openai_errors import render_openai_error
from app.dialects.values import kind_of, opt_text
from app.errors import RequestError

__all__ = ["COMPLETIONS", "CompletionsDialect", "decode_completion_request"]

VARIANT = "completions"
_PATH = re.compile(r"/(?:v1/)?completions/?")
_OWN_KEYS = frozenset(("prompt", "suffix", "best_of", "echo", "logprobs"))


def decode_completion_request(body: JsonObject) -> JsonObject:
    """Return the Chat body that stands for a completions body.

    Raises:
        RequestError: the prompt is missing, or the body asks for what Chat cannot do.
    """
    chat = rest_of(body, _OWN_KEYS)
    chat["messages"] = [{"role": "user", "content": _prompt(body.get("prompt"))}]
    if get_flag(body, "echo"):
        raise _refused("echo", "the prompt cannot be echoed")
    if opt_text(body, "suffix"):
        raise _refused("suffix", "text cannot be inserted before a suffix")
    if body.get("logprobs") is not None:
        raise _refused("logprobs", "log probabilities cannot be given")
    best_of = get_int(body, "best_of")
    if best_of is not None and best_of > 1:
        raise _refused("best_of", "candidates cannot be ranked")
    return chat


def _prompt(prompt: Json) -> str:
    if isinstance(prompt, list):
        if len(prompt) == 1 and isinstance(prompt[0], str):
            return prompt[0]
        tokens = any(not isinstance(item, str) for item in prompt)
        raise _refused(
            "prompt", "it must be one text, not tokens" if tokens else "it must be one text"
        )
    if not isinstance(prompt, str):
        raise RequestError(f"prompt must be a string, not {kind_of(prompt)}.", param="prompt")
    return prompt


def _refused(param: str, reason: str) -> RequestError:
    return RequestError(
        f"{param} is not supported here: {reason}, since chat models answer this call.",
        param=param,
        code="unsupported_parameter",
    )


class CompletionsDialect(ChatDialect):
    """The client's half of the completions call; the upstream's half is Chat's."""

    @property
    def routes(self) -> tuple[Route, ...]:
        """The paths on which clients call it."""
        return (Route("POST", _PATH, "generate"),)

    def peek(self, raw: bytes | Head, path: str, query: str, route: Route) -> Peek:
        """Read model and stream.

        Raises:
            RequestError: no JSON object, or no model.
        """
        peek = super().peek(raw, path, query, route)
        return Peek(peek.model, peek.stream, session=peek.session, variant=VARIANT)

    def decode_request(self, body: JsonObject, peek: Peek) -> ChatRequest:
        """Wire to canon.

        Raises:
            RequestError: the body asks for what Chat cannot do.
        """
        return super().decode_request(decode_completion_request(body), peek)

    def encode_response(self, response: ChatResponse, reply: ReplyContext) -> Encoded:
        """Canon to wire; parts other than words are lost."""
        losses = LossList()
        text: list[str] = []
        for index, part in enumerate(response.parts):
            if isinstance(part, Text | Refusal):
                note_lost(part.native, NAME, losses, f"content[{index}].citations")
                text.append(part.text)
            else:
                losses.add(f"content[{index}]", "completions hold text only")
        body = _base(response.id, reply)
        choices: list[Json] = [_choice("".join(text), _finish_reason(response.stop))]
        body["choices"] = choices
        if response.usage is not None:
            body["usage"] = encode_usage(response.usage)
        return Encoded(body, losses.done())

    def stream_encoder(self, reply: ReplyContext) -> StreamEncoder:
        """Return an encoder for one client stream."""
        return CompletionsStreamEncoder(reply)


COMPLETIONS = CompletionsDialect()


def _base(answer_id: str, reply: ReplyContext) -> JsonObject:
    return {
        "id": answer_id if answer_id.startswith("cmpl-") else reply.new_id("cmpl-"),
        "object": "text_completion",
        "created": int(reply.created),
        "model": reply.model,
    }


def _choice(text: str, finish_reason: str | None) -> JsonObject:
    return {"text": text, "index": 0, "logprobs": None, "finish_reason": finish_reason}


def _finish_reason(stop: StopReason) -> str:
    reason = finish_reason_of(stop, refused=True)
    return "stop" if reason == "tool_calls" else reason


class CompletionsStreamEncoder:
    """Encodes one client stream."""

    __slots__ = ("_done", "_head", "_losses", "_reply", "_text", "_usage")

    def __init__(self, reply: ReplyContext) -> None:
        self._reply = reply
        self._head = b""
        self._text = b""
        self._usage: Usage | None = None
        self._done = False
        self._losses = LossList()

    def encode(self, events: list[Event]) -> bytes:
        """Return the wire form of all the events."""
        out: list[bytes] = []
        for event in events:
            if type(event) is TextDelta:
                out.append(self._text + dump(event.text) + _TEXT_TAIL)
            elif not self._done:
                out.append(self._other(event))
        return escape_lines(b"".join(out))

    @property
    def losses(self) -> tuple[Loss, ...]:
        """What this dialect could not say so far."""
        return self._losses.done()

    def ping(self) -> bytes:
        """Return a comment."""
        return b": ping\n\n"

    def _other(self, event: Event) -> bytes:
        match event:
            case Started():
                self._head = b"data: " + dump(_base(event.id, self._reply))[:-1] + b',"choices":'
                self._text = self._head + b'[{"text":'
                return b""
            case PartStarted(part=Text() | Refusal() as part):
                note_lost(part.native, NAME, self._losses, "citations")
                return self._text + dump(part.text) + _TEXT_TAIL if part.text else b""
            case PartStarted(index=index):
                self._losses.add(f"content[{index}]", "completions hold text only")
                return b""
            case Annotated(native=native):
                note_lost(native, NAME, self._losses, "citations")
                return b""
            case UsageSeen(usage=usage):
                self._usage = usage
                return b""
            case Finished():
                return self._finish(event)
            case Failed(failure=failure):
                self._done = True
                error = dump({"error": render_openai_error(failure)})
                return b"data: %b\n\ndata: [DONE]\n\n" % error
            case Ping():
                return self.ping()
            case _:
                return b""

    def _finish(self, event: Finished) -> bytes:
        self._done = True
        out = self._head + dump([_choice("", _finish_reason(event.stop))]) + b"}\n\n"
        usage = event.usage or self._usage
        if self._reply.include_usage and usage is not None:
            out += self._head + b'[],"usage":' + dump(encode_usage(usage)) + b"}\n\n"
        return out + b"data: [DONE]\n\n"


_TEXT_TAIL = b',"index":0,"logprobs":null,"finish_reason":null}]}\n\n'
