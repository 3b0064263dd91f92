"""What a fake answers: read from the request, steered by words in the last user text.

A text may hold directives, ``FAKE:key=value;key=value;`` up to the end of the line. A value that
begins with a double quote is a JSON string, so that it can hold any character.

============== ===================================================================================
``text=``      the answer's text
``tool=``      ``name:{json}`` (or ``name`` alone: arguments that satisfy its schema); repeat it
               for parallel calls
``think=``     a thought before the answer
``stop=``      ``max_tokens``, ``refusal``, ``content_filter``, ``stop_sequence`` or ``blocked``
``usage=``     ``input:100,cached:40,write:10,output:20,reasoning:5``; ``input`` is the uncached
               part, ``output`` includes ``reasoning``
``n=``         the text comes in so many deltas
``error=``     a status or a name of ``FAILURES``, with ``:retry=seconds``
``midstream=`` the same inside the 200 stream, after ``:after=k`` events (4)
``cut=``       the connection is dropped after so many events
``hang=``      seconds before the head (``head:0.5``), before each event (``event:0.1``), or a
               bare number for the head
``empty200error=`` the stream's first event is this error
``chunks=``    how the bytes are written: see ``tests.fakes.upstream.split``
============== ===================================================================================

Several sections in one text are for successive turns: the first ``FAKE:`` holds until tool
results have come back once, the second until they have come back twice, and so on. When the
sections have run out the answer is the text of the tool results.
"""

import json
import re
from dataclasses import dataclass, field

from tests.fakes.schema import sample

FAILURES = {
    "invalid": 400,
    "context": 400,
    "auth": 401,
    "billing": 402,
    "permission": 403,
    "not_found": 404,
    "too_large": 413,
    "rate_limit": 429,
    "quota": 429,
    "server": 500,
    "overloaded": 503,
    "timeout": 504,
}
_BY_STATUS = {status: kind for kind, status in FAILURES.items() if kind not in ("context", "quota")}


@dataclass
class Offered:
    """One tool of a request; ``custom`` tools take free text instead of JSON."""

    name: str
    schema: dict
    custom: bool = False


@dataclass
class Ask:
    """What every dialect's request comes down to."""

    model: str
    user: str
    """The last user text."""
    tools: list = field(default_factory=list)
    results: list = field(default_factory=list)
    """Texts of the tool results since that text, in order."""
    rounds: int = 0
    """How many times tool results have come back since that text."""
    images: list = field(default_factory=list)
    """``(media type, size in bytes)`` of each image of the conversation's last user turn."""
    max_tokens: int | None = None
    stops: tuple = ()
    schema: dict | None = None
    """The answer must be JSON of this schema; ``{}``: any JSON object."""
    thinking: bool = False
    forced: str | None = None
    """``any``, or the name of the tool that must be called."""
    parallel: bool = True
    prompt: object = None
    """Everything that counts as input, for the token count."""


@dataclass
class Text:
    text: str


@dataclass
class Think:
    text: str


@dataclass
class Called:
    name: str
    arguments: dict | str
    """An object, or the text of a custom tool's call."""


@dataclass
class Counts:
    """Disjoint input counts; ``output`` includes ``reasoning``."""

    input: int = 0
    cached: int = 0
    write: int = 0
    output: int = 0
    reasoning: int = 0

    @property
    def prompt(self):
        return self.input + self.cached + self.write


@dataclass
class Answer:
    """``parts`` in order: thoughts, text, calls. ``stop`` is ``end``, ``tool`` or a directive's."""

    parts: list
    stop: str
    usage: Counts
    stop_sequence: str | None = None
    deltas: int | None = None

    @property
    def text(self):
        return "".join(p.text for p in self.parts if isinstance(p, Text))

    @property
    def thought(self):
        return "".join(p.text for p in self.parts if isinstance(p, Think))

    @property
    def calls(self):
        return [p for p in self.parts if isinstance(p, Called)]


@dataclass
class Failing:
    kind: str
    status: int | None = None
    """Set when a directive named a status."""
    retry_s: float | None = None
    after: int = 4


@dataclass
class Faults:
    """What goes wrong on the way."""

    error: Failing | None = None
    midstream: Failing | None = None
    empty200: Failing | None = None
    cut: int | None = None
    head_s: float = 0.0
    event_s: float = 0.0
    chunks: str | None = None


def pieces(text, count=None):
    """Cut a text into tokens (words of up to twelve characters), or into ``count`` pieces."""
    if count is None:
        return re.findall(r"\s*\S{1,12}|\s+", text)
    words = pieces(text) or ["word "]
    if len(words) < count:
        return [f"{words[i % len(words)].strip()}{i} " for i in range(count)]
    size, more = divmod(len(words), count)
    cuts = [size + (i < more) for i in range(count)]
    whole, at = [], 0
    for cut in cuts:
        whole.append("".join(words[at : at + cut]))
        at += cut
    return whole


def count_tokens(value):
    """Return the fakes' token count of any JSON value, at least 1."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return max(1, len(text.encode("utf-8", "surrogatepass")) // 4)


def read_directives(text):
    """Return a list of sections, each a list of ``(key, value)``."""
    return [_section(text, match.end()) for match in re.finditer("FAKE:", text)]


def _section(text, at):
    found = []
    decoder = json.JSONDecoder()
    while match := re.compile(r"\s*([a-z0-9_]+)=").match(text, at):
        key, at = match[1], match.end()
        if text[at : at + 1] == '"':
            value, at = decoder.raw_decode(text, at)
        elif key == "tool":
            name = re.compile(r"[^\s:;{]+").match(text, at)
            if not name:
                raise ValueError(f"tool= without a name in {text!r}")
            value, at = (name[0], None), name.end()
            if text[at : at + 2] == ':"' or text[at : at + 2] == ":{":
                arguments, at = decoder.raw_decode(text, at + 1)
                value = (name[0], arguments)
        else:
            end = re.compile(r"[^;\n]*").match(text, at)
            value, at = end[0].rstrip(), end.end()
        found.append((key, value))
        if text[at : at + 1] != ";":
            break
        at += 1
    return found


def _failing(text):
    name, *options = text.split(":")
    failing = Failing(name)
    if name.isdigit():
        status = int(name)
        failing = Failing(
            _BY_STATUS.get(status, "overloaded" if status == 529 else "server"), status
        )
    elif name not in FAILURES:
        raise ValueError(f"no failure is called {name!r}")
    for option in options:
        key, value = option.split("=")
        if key == "retry":
            failing.retry_s = float(value)
        elif key == "after":
            failing.after = int(value)
        else:
            raise ValueError(f"a failure has no option {key!r}")
    return failing


def _hang(faults, text):
    for item in text.split(","):
        place, _, seconds = item.rpartition(":")
        if place == "event":
            faults.event_s = float(seconds)
        else:
            faults.head_s = float(seconds)


def plan(ask):
    """Return ``(Answer, Faults)`` for a request.

    Raises:
        ValueError: a directive is unknown or malformed; a fake shows that as its own 500.
    """
    sections = read_directives(ask.user)
    options = sections[ask.rounds] if ask.rounds < len(sections) else []
    faults, said, calls = Faults(), {}, []
    for key, value in options:
        if key == "tool":
            calls.append(value)
        elif key in ("error", "midstream", "empty200error"):
            setattr(faults, key.removesuffix("error") or "error", _failing(value))
        elif key == "cut":
            faults.cut = int(value)
        elif key == "hang":
            _hang(faults, value)
        elif key == "chunks":
            faults.chunks = value
        elif key in ("text", "think", "stop", "usage", "n"):
            said[key] = value
        else:
            raise ValueError(f"no directive is called {key!r}")
    parts = _parts(ask, said, calls, bool(options))
    return _finish(ask, parts, said), faults


def _parts(ask, said, calls, directed):
    thought = said.get("think")
    if thought is None and ask.thinking:
        thought = f"Thinking about: {ask.user[:60].strip()}"
    parts = [Think(thought)] if thought else []
    tools = {t.name: t for t in ask.tools}
    calls = [Called(name, given) for name, given in calls]
    wants = "use the tool" in ask.user.lower() and not directed and not ask.rounds
    if not calls and ask.tools and (wants or ask.forced) and "text" not in said:
        tool = tools.get(ask.forced) or ask.tools[0]
        calls = [Called(tool.name, None)]
    for call in calls:
        if call.arguments is None:
            tool = tools.get(call.name) or Offered(call.name, {"type": "object"})
            call.arguments = "sample input" if tool.custom else sample(tool.schema)
    if not ask.parallel:
        del calls[1:]
    text = said.get("text")
    if text is None and not calls:
        text = _default_text(ask, said)
    return [*parts, *([Text(text)] if text else []), *calls]


def _default_text(ask, said):
    if said.get("stop") in ("refusal", "content_filter"):
        return "I can't help with that." if said["stop"] == "refusal" else "The first words"
    if ask.schema is not None:
        value = sample(ask.schema) if ask.schema else {"answer": ask.user[:200]}
        return json.dumps(value, ensure_ascii=False)
    if ask.results:
        return "The tool said: " + "; ".join(ask.results)
    if ask.images:
        seen = ", ".join(f"{kind} of {size} bytes" for kind, size in ask.images)
        return f"You sent {len(ask.images)} image(s): {seen}. You said: {ask.user}"
    return f"You said: {ask.user}"


def _finish(ask, parts, said):
    deltas = int(said["n"]) if "n" in said else None
    if deltas:
        for part in parts:
            if isinstance(part, Text):
                part.text = "".join(pieces(part.text, deltas))
    stop = said.get("stop") or ("tool" if any(isinstance(p, Called) for p in parts) else "end")
    sequence = ask.stops[0] if stop == "stop_sequence" and ask.stops else None
    for part in [p for p in parts if isinstance(p, Text)]:
        hits = [(part.text.find(s), s) for s in ask.stops if s and s in part.text]
        if hits:
            at, sequence = min(hits)
            part.text, stop = part.text[:at], "stop_sequence"
            parts = [p for p in parts[: parts.index(part) + 1] if p is not part or part.text]
            break
    parts, was_cut, output, reasoning = _limit(parts, ask.max_tokens, said)
    if was_cut:
        stop, sequence = "max_tokens", None
    usage = Counts(count_tokens(ask.prompt), 0, 0, max(1, output), reasoning)
    for item in said.get("usage", "").split(","):
        if item:
            key, _, value = item.partition(":")
            if not hasattr(usage, key) or key == "prompt":
                raise ValueError(f"usage has no {key!r}")
            setattr(usage, key, int(value))
    return Answer(parts, stop, usage, sequence, deltas)


def _limit(parts, limit, said):
    """Cut parts to a number of tokens; ``stop=max_tokens`` cuts the text to its first half."""
    kept, output, reasoning, cut = [], 0, 0, False
    for part in parts:
        words = pieces(part.text if isinstance(part, Text | Think) else json.dumps(part.arguments))
        room = len(words) if limit is None else max(0, limit - output)
        if len(words) > room:
            cut = True
            words = words[:room]
            if words and not isinstance(part, Called):
                part.text = "".join(words)
            elif not words or isinstance(part, Called):
                break
        output += len(words)
        reasoning += len(words) if isinstance(part, Think) else 0
        kept.append(part)
        if cut:
            break
    return kept, cut, output, reasoning
