"""The built-in demo: answers offline, in every dialect, so that a first request succeeds.

Models: ``demo-chat`` says what it understood; ``demo-tools`` calls the first offered tool with
arguments that satisfy its schema and then uses the result; ``demo-think`` thinks aloud first;
``demo-slow`` takes a second per word; ``demo-error-429|500|overloaded|midstream`` fail.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from app.canonical.events import (
    ArgumentsDelta,
    Event,
    Failed,
    Finished,
    PartEnded,
    PartStarted,
    ReasoningDelta,
    SignatureDelta,
    Started,
    TextDelta,
)
from app.canonical.failure import Failure
from app.canonical.parts import (
    Media,
    Reasoning,
    Signature,
    Text,
    ToolCall,
    ToolResult,
)
from app.canonical.request import ChatRequest, Tool
from app.canonical.response import StopReason
from app.canonical.usage import Usage
from app.errors import Retry
from app.providers.base import ModelFacts, Provider
from app.providers.example import example

__all__ = ["DEMO", "DEMO_MODELS", "failure_for", "script"]

DEMO_MODELS = (
    "demo-chat",
    "demo-tools",
    "demo-think",
    "demo-slow",
    "demo-error-429",
    "demo-error-500",
    "demo-error-overloaded",
    "demo-error-midstream",
)

DEMO = Provider(
    id="demo",
    title="Demo",
    base_url="demo://demo",
    dialects=("openai_chat", "openai_responses", "anthropic", "gemini"),
    issuer="demo",
    keyless=True,
    demo=True,
    known_models=lambda _credential: tuple(ModelFacts(name) for name in DEMO_MODELS),
)

_FAILURES = {
    "demo-error-429": Failure(
        429,
        "This is the demo's rate limit.",
        "rate_limit",
        code="rate_limit_exceeded",
        retry_after_s=3.0,
        scope="model",
        retry=Retry.NEXT_ACCOUNT,
    ),
    "demo-error-500": Failure(
        500, "This is the demo's server error.", "server", code="demo_error", scope="service"
    ),
    "demo-error-overloaded": Failure(
        529, "This is the demo's overload.", "overloaded", code="overloaded", scope="service"
    ),
}


def failure_for(model: str) -> Failure | None:
    """Return the failure that a demo model stands for, or None."""
    return _FAILURES.get(model)


def script(request: ChatRequest) -> Iterator[tuple[float, list[Event]]]:
    """Yield the answer as pauses in seconds, each before the events that follow it."""
    yield 0.0, [Started("", request.model)]
    prompt = _count(_all_text(request))
    if request.model == "demo-tools":
        yield from _tool_turn(request, prompt)
        return
    index = 0
    thought = ""
    if request.model == "demo-think":
        thought = "The user wants an answer. I say what I understood, and that this is a demo."
        yield 0.0, [PartStarted(0, Reasoning())]
        for word in _words(thought):
            yield 0.0, [ReasoningDelta(0, word)]
        yield 0.0, [SignatureDelta(0, Signature("demo", "demo-thought")), PartEnded(0)]
        index = 1
    answer = _understood(request)
    pause = 1.0 if request.model == "demo-slow" else 0.0
    yield 0.0, [PartStarted(index, Text(""))]
    said = 0
    stop: StopReason = "end"
    limit = request.max_tokens
    for number, word in enumerate(_words(answer)):
        if limit is not None and number >= limit:
            stop = "max_tokens"
            break
        if request.model == "demo-error-midstream" and number == 3:
            yield (
                0.0,
                [
                    Failed(
                        Failure(
                            529,
                            "This is the demo's overload in the middle of an answer.",
                            "overloaded",
                            code="overloaded",
                            scope="service",
                        )
                    )
                ],
            )
            return
        said += 1
        yield pause, [TextDelta(index, word)]
    thoughts = len(_words(thought))
    usage = Usage(input=prompt, output=said + thoughts, reasoning=thoughts or None)
    yield 0.0, [PartEnded(index), Finished(stop, usage)]


def _tool_turn(request: ChatRequest, prompt: int) -> Iterator[tuple[float, list[Event]]]:
    tool = next((t for t in request.tools if isinstance(t, Tool)), None)
    choice = request.tool_choice
    results = _fresh_results(request)
    if tool is not None and not results and (choice is None or choice.mode != "none"):
        wanted = choice.names[0] if choice is not None and choice.names else tool.name
        tool = next((t for t in request.tools if isinstance(t, Tool) and t.name == wanted), tool)
        arguments = (
            "demo input"
            if tool.kind == "custom"
            else msgspec.json.encode(example(tool.schema or {}, _last_words(request))).decode()
        )
        calls = sum(
            isinstance(part, ToolCall) for message in request.messages for part in message.parts
        )
        call = ToolCall(f"call_demo{calls + 1}", tool.name, "", tool.kind, tool.namespace)
        yield 0.0, [PartStarted(0, call), ArgumentsDelta(0, arguments), PartEnded(0)]
        yield 0.0, [Finished("tool_use", Usage(input=prompt, output=_count(arguments)))]
        return
    if results:
        text = " ".join(p.text for r in results for p in r.content if isinstance(p, Text))
        answer = f"The tool answered: {text}" if text else "The tool answered nothing."
    else:
        answer = "demo-tools calls the first tool that it may; this request allows none."
    yield 0.0, [PartStarted(0, Text("")), TextDelta(0, answer), PartEnded(0)]
    yield 0.0, [Finished("end", Usage(input=prompt, output=_count(answer)))]


def _fresh_results(request: ChatRequest) -> list[ToolResult]:
    """Return the results since the last answer; agents put words of their own behind them."""
    results: list[ToolResult] = []
    for message in reversed(request.messages):
        if message.role == "assistant":
            break
        results[:0] = (part for part in message.parts if isinstance(part, ToolResult))
    return results


def _understood(request: ChatRequest) -> str:
    said = _last_words(request)
    facts = [f"{len(request.messages)} message{'s' if len(request.messages) != 1 else ''}"]
    if request.tools:
        facts.append(f"{len(request.tools)} tool{'s' if len(request.tools) != 1 else ''}")
    media = [p.kind for m in request.messages for p in m.parts if isinstance(p, Media)]
    if media:
        facts.append(", ".join(sorted(set(media))))
    quote = said if len(said) <= 200 else said[:200] + "…"
    return f"Dragoman's demo understood: “{quote}” ({'; '.join(facts)})."


def _last_words(request: ChatRequest) -> str:
    for message in reversed(request.messages):
        if message.role == "user":
            texts = [part.text for part in message.parts if isinstance(part, Text)]
            if texts:
                return texts[-1]
    return ""


def _all_text(request: ChatRequest) -> str:
    parts = [*request.system, *(p for m in request.messages for p in m.parts)]
    return " ".join(part.text for part in parts if isinstance(part, Text))


def _words(text: str) -> list[str]:
    return re.findall(r"\S+\s*", text)


def _count(text: str) -> int:
    return max(1, len(_words(text)))
