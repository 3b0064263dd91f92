"""A gateway over scripted upstreams, and a client that records what it gets."""

import asyncio
import json
import re

from app.accounts.account import Account
from app.accounts.roster import Roster
from app.dialects import COMPLETIONS, DIALECTS
from app.gateway.call import Call, ClientGone
from app.gateway.exchange import Gateway, GatewayLimits
from app.gateway.memory import ResponseMemory
from app.gateway.replay import ReplayCache
from app.providers import Credential, compatible
from app.routing.catalog import Catalog
from tests.fakes.basic import Answered, Clock, Ids, ScriptedSend

CHAT = compatible("server", "openai_chat", "http://chat.test/v1")
RESPONSES = compatible("replies", "openai_responses", "http://responses.test/v1")
PATHS = {
    "openai_chat": "/v1/chat/completions",
    "openai_responses": "/v1/responses",
    "anthropic": "/v1/messages",
}
JSON = {"content-type": "application/json"}
SSE = {"content-type": "text/event-stream"}


def account(provider=CHAT, label="one", models=None, **more):
    """An account of a provider; ``models`` is a list of names, or public to upstream name."""
    if isinstance(models, list):
        models = {name: name for name in models}
    return Account(
        id=f"{provider.id}/{label}",
        provider=provider,
        label=label,
        base_url=provider.base_url,
        credential=Credential(f"sk-{label}"),
        models=models,
        **more,
    )


class Client:
    """The sink: what one client sees of an answer."""

    def __init__(self):
        self.started = False
        self.written_at = asyncio.get_running_loop().time()
        self.status = None
        self.headers = ()
        self.pieces = []
        self.pings = []
        self.finished = 0
        self.gone = False
        self.seen = asyncio.Event()
        """Set whenever something has arrived."""

    def start(self, status, headers):
        assert not self.started
        self.started = True
        self.status, self.headers = status, tuple(headers)
        self.seen.set()

    async def write(self, data):
        assert self.started
        assert not self.finished
        if self.gone:
            raise ClientGone
        self.pieces.append(data)
        self.seen.set()

    def alive(self):
        return not self.gone

    def ping(self, data):
        self.pings.append(data)
        self.pieces.append(data)
        self.seen.set()
        return True

    def finish(self):
        self.finished += 1

    def reply(self, status, headers, body):
        assert not self.started
        self.start(status, headers)
        self.pieces.append(body)
        self.finish()

    @property
    def body(self):
        return b"".join(self.pieces)

    @property
    def json(self):
        return json.loads(self.body)

    def header(self, name):
        found = [value for key, value in self.headers if key.lower() == name]
        assert len(found) <= 1, f"{name} is there {len(found)} times"
        return found[0] if found else None

    def events(self):
        """The data of each server-sent event, decoded."""
        found = re.findall(rb"^data: (.*)$", self.body, re.MULTILINE)
        return [json.loads(data) for data in found if data != b"[DONE]"]


class Desk:
    """A gateway with its scripted upstream, clock and outcomes."""

    def __init__(self, *accounts, catalog=None, limits=None, send=None, **options):
        self.clock = Clock()
        self.send = send or ScriptedSend()
        self.outcomes = []
        self.roster = Roster(accounts)

        async def counter(text):
            return len(text.split())

        self.gateway = Gateway(
            dialects=DIALECTS,
            roster=self.roster,
            send=self.send,
            now=self.clock,
            new_id=Ids(),
            counter=counter,
            catalog=catalog or Catalog(),
            limits=limits or GatewayLimits(),
            memory=ResponseMemory(self.clock),
            replay=ReplayCache(self.clock),
            settled=self.outcomes.append,
            **options,
        )

    def answers(self, *steps):
        """Script what the upstreams answer."""
        self.send.script(*steps)
        return self

    def call(self, body, dialect="openai_chat", path=None, query="", **more):
        path = path or PATHS.get(dialect, "")
        spoken = COMPLETIONS if path.endswith("/completions") and "chat" not in path else None
        spoken = spoken or DIALECTS[dialect]
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        route = next(
            (r for r in spoken.routes if r.method == "POST" and r.pattern.fullmatch(path)),
            spoken.routes[0],
        )
        options = {
            "owner": "user",
            "allows": lambda account, model: True,
            "headers": (("x-test", "yes"),),
            "surface": spoken if spoken is COMPLETIONS else None,
        } | more
        return Call(
            dialect=spoken,
            route=route,
            path=path,
            query=query,
            raw=raw,
            request_id="req_test",
            **options,
        )

    async def ask(self, body, dialect="openai_chat", path=None, query="", **more):
        """Send one request; return what the client saw."""
        client = Client()
        call = self.call(body, dialect, path, query, **more)
        await self.gateway.handle(call, client)
        assert client.finished == 1
        return client

    def sent(self, number=-1):
        """The body of an upstream request."""
        return json.loads(self.send.requests[number].body)

    @property
    def outcome(self):
        return self.outcomes[-1]


def ask_body(dialect, model, *, stream=False, text="hi", **more):
    """The smallest request of a dialect."""
    if dialect == "anthropic":
        body = {"model": model, "max_tokens": 64, "messages": [{"role": "user", "content": text}]}
    elif dialect == "openai_responses":
        body = {"model": model, "input": text}
    elif dialect == "gemini":
        return {"contents": [{"role": "user", "parts": [{"text": text}]}], **more}
    else:
        body = {"model": model, "messages": [{"role": "user", "content": text}]}
    if stream:
        body["stream"] = True
    return body | more


TOLD = {"stream_options": {"include_usage": True}}
"""Of a Chat request that asks what the stream used; without it we do, and nothing is verbatim."""


def gemini_path(model, *, stream=False):
    method = "streamGenerateContent" if stream else "generateContent"
    return f"/v1beta/models/{model}:{method}"


def frame(body, event=""):
    data = b"data: " + json.dumps(body).encode() + b"\n\n"
    return f"event: {event}\n".encode() + data if event else data


def chat_chunk(delta, finish=None, **more):
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return frame(head | {"choices": [choice]} | more)


CHAT_START = chat_chunk({"role": "assistant", "content": ""})
CHAT_END = (
    chat_chunk({}, "stop")
    + frame(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "m",
            "choices": [],
            "usage": {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9},
        }
    )
    + b"data: [DONE]\n\n"
)


def chat_stream(*words):
    return [CHAT_START, *(chat_chunk({"content": word}) for word in words), CHAT_END]


def chat_whole(text="hello", **message):
    return json.dumps(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": "m",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": text, **message},
                    "finish_reason": "tool_calls" if "tool_calls" in message else "stop",
                }
            ],
            "usage": {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9},
        }
    ).encode()


def anthropic_start(model="claude-x"):
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 5, "output_tokens": 1},
    }
    return frame({"type": "message_start", "message": message}, "message_start")


def anthropic_block(index, block, *deltas):
    out = frame(
        {"type": "content_block_start", "index": index, "content_block": block},
        "content_block_start",
    )
    for delta in deltas:
        out += frame(
            {"type": "content_block_delta", "index": index, "delta": delta}, "content_block_delta"
        )
    return out + frame({"type": "content_block_stop", "index": index}, "content_block_stop")


def anthropic_end(stop="end_turn"):
    return frame(
        {
            "type": "message_delta",
            "delta": {"stop_reason": stop, "stop_sequence": None},
            "usage": {"output_tokens": 3},
        },
        "message_delta",
    ) + frame({"type": "message_stop"}, "message_stop")


def anthropic_text(text):
    return anthropic_block(0, {"type": "text", "text": ""}, {"type": "text_delta", "text": text})


ANTHROPIC_PING = frame({"type": "ping"}, "ping")


def anthropic_error(kind="overloaded_error", message="Overloaded"):
    return frame({"type": "error", "error": {"type": kind, "message": message}}, "error")


def anthropic_whole(text="hello", **more):
    return json.dumps(
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "claude-x",
            "content": [{"type": "text", "text": text}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": 5, "output_tokens": 3},
        }
        | more
    ).encode()


def gemini_whole(text="hello"):
    return json.dumps(
        {
            "candidates": [
                {
                    "content": {"role": "model", "parts": [{"text": text}]},
                    "finishReason": "STOP",
                    "index": 0,
                }
            ],
            "usageMetadata": {
                "promptTokenCount": 4,
                "candidatesTokenCount": 2,
                "totalTokenCount": 6,
            },
            "modelVersion": "gemini-x",
            "responseId": "r1",
        }
    ).encode()


def responses_body(text="hello", name="resp_up"):
    return {
        "id": name,
        "object": "response",
        "created_at": 1,
        "status": "completed",
        "model": "m",
        "error": None,
        "incomplete_details": None,
        "output": [
            {
                "type": "message",
                "id": "msg_1",
                "status": "completed",
                "role": "assistant",
                "content": [{"type": "output_text", "text": text, "annotations": []}],
            }
        ],
        "usage": {
            "input_tokens": 3,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 2,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 5,
        },
    }


def responses_created(name="resp_up"):
    body = responses_body(name=name) | {"status": "in_progress", "output": [], "usage": None}
    return frame(
        {"type": "response.created", "sequence_number": 0, "response": body}, "response.created"
    )


def responses_stream(text="hello", name="resp_up"):
    item = responses_body(text)["output"][0]
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    events = [
        {"type": "response.output_item.added", "output_index": 0,
         "item": item | {"content": [], "status": "in_progress"}},
        {"type": "response.content_part.added", **place,
         "part": {"type": "output_text", "text": "", "annotations": []}},
        {"type": "response.output_text.delta", **place, "delta": text},
        {"type": "response.output_text.done", **place, "text": text},
        {"type": "response.content_part.done", **place, "part": item["content"][0]},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": responses_body(text, name)},
    ]  # fmt: skip
    return [
        responses_created(name),
        *(frame(e | {"sequence_number": n}, e["type"]) for n, e in enumerate(events, 1)),
    ]


def refusal(status, kind="openai", message="no", headers=None, **fields):
    """A service's error answer."""
    if kind == "anthropic":
        body = {"type": "error", "error": {"type": "api_error", "message": message} | fields}
    elif kind == "gemini":
        body = {"error": {"code": status, "message": message, "status": "UNKNOWN"} | fields}
    else:
        body = {"error": {"message": message, "type": "error", "code": None} | fields}
    return Answered(status, JSON | (headers or {}), json.dumps(body).encode())
