"""``POST /admin/route/explain``: where a call would go, and why, without making it.

The body holds any of ``request`` (a body as a client would send it), ``path``, ``model``,
``tokens``, ``stream``, ``thinking`` (true, false or a level), ``tools`` (names), ``images``,
``client``, ``key`` (label), ``headers`` (an object) and ``conversation``. What it says wins over
what the request says. The answer is a ``routing.explain.Trace``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeAlias

import msgspec
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.accounts.account import Account
from app.canonical.parts import DialectName, JsonObject, Media
from app.canonical.request import ChatRequest, Message, Tool
from app.dialects.base import Dialect, Route, decode_object, dump
from app.errors import AppError, RequestError
from app.routing.catalog import Catalog
from app.routing.explain import explain, listed_names
from app.routing.facts import FactsMissing, RequestFacts
from app.routing.plan import Plan, RankOf, StateOf
from app.routing.rules import Decision, RuleSet, decide_counting
from app.routing.suffix import parse_level, with_reasoning
from app.server.pages import Page, Takes

__all__ = [
    "Explain",
    "ExplainDesk",
    "Question",
    "QuestionBody",
    "explain_call",
    "explain_routes",
    "read_question",
]

Explain: TypeAlias = Callable[[JsonObject], Awaitable[dict[str, Any]]]
"""Answers the body of a question; raises ``RequestError`` when it is wrong."""


@dataclass(frozen=True, slots=True)
class ExplainDesk:
    """What an explanation is made from: the same things that the gateway plans with."""

    rules: Callable[[], RuleSet]
    accounts: Callable[[], Sequence[Account]]
    catalog: Callable[[], Catalog]
    state_of: StateOf
    """Now."""
    ranking: Callable[[Decision, str], RankOf]
    """Order among accounts for a decision and a conversation."""
    count: Callable[[ChatRequest], Awaitable[int]]
    """Counts the tokens of a prompt."""
    no_account: Callable[[Plan], AppError]
    """The error for a plan without candidates."""
    dialects: Mapping[DialectName, Dialect]


@dataclass(frozen=True, slots=True)
class Question:
    """A call that is only thought of."""

    facts: RequestFacts
    dialect: DialectName
    request: ChatRequest | None
    """None where no body was given, so that nothing can be counted."""
    tokens: int | None


async def explain_call(desk: ExplainDesk, body: JsonObject) -> dict[str, Any]:
    """Return why a call would go where it would go.

    Raises:
        RequestError: the question is wrong; ``param`` says where.
    """
    question = read_question(body, desk.dialects)
    accounts, catalog = desk.accounts(), desk.catalog()

    async def count() -> int:
        if question.tokens is not None:
            return question.tokens
        if question.request is None:
            raise FactsMissing("neither tokens nor a request was given")
        return await desk.count(question.request)

    decision = await decide_counting(
        question.facts, desk.rules(), count, listed_names(accounts, catalog)
    )
    trace = explain(
        decision,
        question.dialect,
        accounts,
        catalog,
        desk.state_of,
        lambda *_: True,
        desk.ranking(decision, question.facts.conversation),
        desk.no_account,
    )
    found: dict[str, Any] = msgspec.to_builtins(trace)
    return found


class QuestionBody(BaseModel):
    """A call that is only thought of; what it says wins over what its ``request`` says."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    request: dict[str, Any] | None = None
    path: str | None = None
    model: str | None = None
    tokens: int | None = Field(None, ge=0)
    stream: bool | None = None
    tools: list[str] | None = None
    images: bool | None = None
    client: str | None = None
    key: str | None = None
    headers: dict[str, str] | None = None
    conversation: str | None = None
    thinking: bool | int | float | str | None = None


_WORDS: Mapping[str, str] = {
    "request": "an object",
    "path": "text",
    "model": "text",
    "tokens": "a whole number",
    "stream": "true or false",
    "tools": "a list of names",
    "images": "true or false",
    "client": "text",
    "key": "text",
    "headers": "an object of texts",
    "conversation": "text",
    "thinking": "true, false or a level",
}


def _read_body(body: JsonObject) -> QuestionBody:
    try:
        return QuestionBody.model_validate(body)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0])
        match first["type"]:
            case "extra_forbidden":
                told = f"{name} is not known here; known are {', '.join(_WORDS)}."
            case "greater_than_equal":
                told = f"{name} must not be negative."
            case _:
                told = f"{name} must be {_WORDS[name]}."
        raise RequestError(told, param=name) from None


def read_question(body: JsonObject, dialects: Mapping[DialectName, Dialect]) -> Question:
    """Read a question.

    Raises:
        RequestError: it is wrong; ``param`` says where.
    """
    asked = _read_body(body)
    dialect, path, request, stream = _request_of(asked, dialects)
    said = _with_flags(request, asked)
    facts = RequestFacts(
        asked.model or request.model,
        path,
        stream if asked.stream is None else asked.stream,
        asked.client or "",
        asked.key or "",
        tuple((asked.headers or {}).items()),
        asked.conversation or "",
        lambda: said,
    )
    return Question(facts, dialect, None if asked.request is None else said, asked.tokens)


def _request_of(
    asked: QuestionBody, dialects: Mapping[DialectName, Dialect]
) -> tuple[DialectName, str, ChatRequest, bool]:
    """Return dialect, path, request and whether it streams; an empty request where none is given.

    Without a path, the dialects are tried in turn: the first that can read the body has it.
    """
    model, body, path = asked.model or "", asked.request, asked.path
    if path is not None:
        path = path.partition("?")[0]
        ways = [
            (dialect, path, route)
            for dialect in dialects.values()
            for route in dialect.routes
            if route.method == "POST" and route.pattern.fullmatch(path)
        ]
        if not ways and body is not None:
            raise RequestError(f"No dialect has the path {path!r}.", param="path")
    else:
        ways = [usual for d in dialects.values() if (usual := _usual_way(d, model)) is not None]
    if body is None:
        if ways:
            return ways[0][0].name, ways[0][1], ChatRequest(model, ()), False
        return next(iter(dialects)), path or "", ChatRequest(model, ()), False
    first_error: RequestError | None = None
    raw = dump(body)
    for dialect, way, route in ways:
        try:
            peek = dialect.peek(raw, way, "", route)
            request = dialect.decode_request(decode_object(raw), peek)
        except RequestError as error:
            first_error = first_error or error
            continue
        return dialect.name, way, replace(request, model=peek.model), peek.stream
    assert first_error is not None  # noqa: S101 - there was a way, and each ended in an error
    raise first_error


def _usual_way(dialect: Dialect, model: str) -> tuple[Dialect, str, Route] | None:
    path = dialect.path("generate", model or "model", stream=False).partition("?")[0]
    for route in dialect.routes:
        if route.method == "POST" and route.pattern.fullmatch(path):
            return dialect, path, route
    return None


def _with_flags(request: ChatRequest, asked: QuestionBody) -> ChatRequest:
    """Return the request as the flags say it is."""
    if asked.tools is not None:
        request = replace(request, tools=tuple(Tool(name) for name in asked.tools))
    if (images := asked.images) is not None:
        messages = request.messages
        if images:
            picture = Media("image", url="https://example.com/image.png")
            messages = (*messages, Message("user", (picture,)))
        else:
            messages = tuple(_without_images(message) for message in messages)
        request = replace(request, messages=messages)
    thinking = asked.thinking
    if thinking is None:
        return request
    level = {True: "auto", False: "none"}.get(thinking) if isinstance(thinking, bool) else None
    if level is None:
        parsed = None if isinstance(thinking, bool) else parse_level(str(thinking))
        if parsed is None:
            raise RequestError("thinking must be true, false or a level.", param="thinking")
        return with_reasoning(request, parsed)
    return with_reasoning(request, level)


def _without_images(message: Message) -> Message:
    parts = (p for p in message.parts if not (isinstance(p, Media) and p.kind == "image"))
    return replace(message, parts=tuple(parts))


class _ExplainPage(Page):
    kind = "control"
    takes: ClassVar[Takes] = {"post": QuestionBody}

    def initialize(self, control: Any, explain: Explain) -> None:  # type: ignore[override]
        super().initialize(control)
        self.explain = explain

    async def post(self) -> None:
        self.send_json(await self.explain(decode_object(self.request.body or b"{}")))


def explain_routes(control: Any, explain: Explain) -> list[Any]:
    """Return the route; ``explain`` is ``explain_call`` with its desk."""
    return [(r"/admin/route/explain", _ExplainPage, {"control": control, "explain": explain})]
