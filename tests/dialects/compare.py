"""What two canonical requests or answers say differently, by path.

Dialects cut conversations differently: system text stands inside or outside of the messages, one
turn is one message or several, neighbouring texts are one text or several. So the comparison
flattens a conversation into a sequence of things said, in order, and compares those.
"""

import base64
import difflib
from dataclasses import dataclass

import msgspec

from app.canonical.parts import Media, Opaque, Reasoning, Refusal, Text, ToolCall, ToolResult
from app.canonical.reasoning import resolve
from app.canonical.request import ServerTool
from app.canonical.usage import Usage
from app.dialects.identity import pseudonym

PLAIN_FIELDS = (
    *("max_tokens", "stop", "temperature", "top_p", "top_k", "frequency_penalty"),
    *("presence_penalty", "seed", "logprobs", "top_logprobs", "choices", "verbosity", "user"),
    *("cache_key", "metadata", "store", "service_tier", "stream"),
)
UNSAID = (None, (), 1, False)
"""Values that ask for nothing."""


@dataclass
class Said:
    """One thing that a conversation says, and where."""

    key: tuple
    """What is compared; white space is taken out of texts."""
    paths: list
    exact: str | None = None
    """A text as it is, where it stood in one piece."""


@dataclass
class Change:
    """One difference, with every path under which a loss may name it."""

    paths: list
    text: str
    gone: Said | None = None
    came: Said | None = None


def loose(text):
    return "".join(text.split())


def document_text(media):
    """The words of a plain text document, in whichever form it travels."""
    if media.text is not None:
        return media.text
    if media.kind == "document" and media.data and (media.media_type or "").startswith("text/"):
        return base64.b64decode(media.data).decode()
    return None


def json_text(text):
    """A text that is JSON without regard to its spacing, any other as it is."""
    try:
        return msgspec.json.format(text, indent=-1)
    except msgspec.MsgspecError:
        return text


def arguments_key(call):
    if call.kind == "custom":
        return call.arguments
    try:
        return msgspec.json.encode(msgspec.json.decode(call.arguments or "{}"), order="sorted")
    except msgspec.MsgspecError:
        return call.arguments


class _Flat:
    def __init__(self):
        self.items = []
        self.calls = {}
        self.system = []

    def call_number(self, call_id):
        return self.calls.setdefault(call_id, len(self.calls))

    def text(self, kind, text, path):
        if not text.strip():
            return
        if kind == "system":
            self.system.append((len(self.items), loose(text), path))
            return
        last = self.items[-1] if self.items else None
        if last is not None and last.key[:2] == ("text", kind):
            last.key = ("text", kind, last.key[2] + loose(text))
            last.paths.append(path)
            last.exact = None
        else:
            self.items.append(Said(("text", kind, loose(text)), [path], text))

    def part(self, who, part, path):
        match part:
            case Text() | Refusal():
                self.text(who, part.text, path)
            case Media() if (words := document_text(part)) is not None:
                self.text(who, words, path)
            case Media():
                source = part.data or part.url or part.file_id or part.text
                self.items.append(Said(("media", who, part.kind, source), [path]))
            case ToolCall():
                number = self.call_number(part.id)
                key = ("call", number, part.name, part.kind, arguments_key(part))
                self.items.append(Said(key, [path]))
            case ToolResult():
                number = self.call_number(part.call_id)
                self.items.append(Said(("result", number), [path]))
                if part.is_error:
                    self.items.append(Said(("failed", number), [f"{path}.is_error"]))
                for index, inner in enumerate(part.content):
                    self.part(f"result {number}", inner, f"{path}.content[{index}]")
            case Reasoning():
                if part.text:
                    self.items.append(Said(("thought", loose(part.text)), [path]))
            case Opaque():
                raw = msgspec.json.encode(part.body, order="sorted")
                self.items.append(Said(("opaque", part.dialect, raw), [path]))
        signature = getattr(part, "signature", None)
        if signature is not None:
            key = ("signature", signature.issuer, signature.value)
            self.items.append(Said(key, [f"{path}.signature"]))


def flatten(request):
    """The things that a request says, in order; system texts apart, each with its place."""
    flat = _Flat()
    for index, part in enumerate(request.system):
        flat.part("system", part, f"system[{index}]")
    for number, message in enumerate(request.messages):
        who = "system" if message.role == "developer" else message.role
        for index, part in enumerate(message.parts):
            flat.part(who, part, f"messages[{number}].content[{index}]")
    return flat


def request_differences(before, after, profile):
    """Paths of ``before`` whose value is not in ``after``, each with what changed."""
    return [
        *_system(flatten(before).system, flatten(after).system),
        *_conversation(flatten(before).items, flatten(after).items),
        *_tools(before, after),
        *_fields(before, after),
        *_thinking(before, after, profile),
        *_form(before, after),
        *_native(before),
    ]


def _system(before, after):
    out = []
    old, new = ("".join(text for _, text, _ in items) for items in (before, after))
    if old != new and old in new:
        out.append(Change(["output"], f"system text added: {new.replace(old, '', 1)}"))
    elif old != new:
        out.append(Change([path for _, _, path in before], f"{old!r} became {new!r}"))
    old, new = ({place for place, _, _ in items} - {0} for items in (before, after))
    moved = old - new
    out.extend(Change([path], "moved") for place, _, path in before if place in moved)
    return out


def _conversation(before, after):
    out = []
    matcher = difflib.SequenceMatcher(
        None, [item.key for item in before], [item.key for item in after], autojunk=False
    )
    for tag, i1, i2, j1, j2 in matcher.get_opcodes():
        if tag == "equal":
            for old, new in zip(before[i1:i2], after[j1:j2], strict=True):
                one_piece = old.exact is not None and new.exact is not None
                if one_piece and json_text(old.exact) != json_text(new.exact):
                    out.append((old.paths, f"{old.exact!r} became {new.exact!r}"))
            continue
        out.extend(Change(old.paths, f"missing {old.key}", gone=old) for old in before[i1:i2])
        place = before[min(i1, len(before) - 1)].paths if before else ["messages"]
        out.extend(Change(place, f"new {new.key}", came=new) for new in after[j1:j2])
    return out


def _tools(before, after):
    out = []
    left = {tool.name: tool for tool in after.tools if not isinstance(tool, ServerTool)}
    purposes = [tool.purpose for tool in after.tools if isinstance(tool, ServerTool)]
    for index, tool in enumerate(before.tools):
        path = f"tools[{index}]"
        if isinstance(tool, ServerTool):
            if tool.purpose is None or tool.purpose not in purposes:
                out.append(Change([path], f"no server tool {tool.purpose}"))
            continue
        found = left.pop(tool.name, None)
        if found is None:
            out.append(Change([path], f"no tool {tool.name}"))
            continue
        if (tool.description or None) != (found.description or None):
            out.append(Change([f"{path}.description"], "changed"))
        if tool.schema and not keeps_schema(tool.schema, found.schema):
            out.append(Change([f"{path}.schema"], f"{tool.schema} became {found.schema}"))
        if tool.kind != found.kind or tool.namespace != found.namespace:
            out.append(Change([path], "of another kind"))
        if tool.strict and not found.strict:
            out.append(Change([f"{path}.strict"], "not strict"))
        if tool.cache and not found.cache:
            out.append(Change([f"{path}.cache"], "no mark"))
    out.extend(Change(["tools"], f"new tool {name}") for name in left)
    old, new = before.tool_choice, after.tool_choice
    if old is not None and (old.mode, old.names) != ("auto", ()):
        found = None if new is None else (new.mode, new.names)
        if found != (old.mode, old.names):
            out.append(Change(["tool_choice"], f"{old.mode} {old.names} became {found}"))
    if before.parallel_tools is False and after.parallel_tools is not False:
        out.append(Change(["parallel_tools"], "may be parallel"))
    return out


def keeps_schema(old, new):
    """Whether a schema says all that another did; closing an open object is no loss."""
    if isinstance(old, dict) and isinstance(new, dict):
        added = new.keys() - old.keys()
        return all(new[key] is False and key == "additionalProperties" for key in added) and all(
            key in new and keeps_schema(value, new[key])
            for key, value in old.items()
            if key != "$schema"
        )
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(map(keeps_schema, old, new))
    return old == new


def _fields(before, after):
    out = []
    for name in PLAIN_FIELDS:
        old, new = getattr(before, name), getattr(after, name)
        hidden = name == "user" and old is not None and new == pseudonym(old)
        if old not in UNSAID and old != new and not hidden:
            out.append(Change([name], f"{old!r} became {new!r}"))
    return out


def _thinking(before, after, profile):
    old = resolve(before.reasoning, profile, before.max_tokens)
    new = resolve(after.reasoning, profile, after.max_tokens)
    if before.reasoning is None or old is None:
        return []
    if new is None:  # fine for a client that leaves it to the model, too
        said = old.off or old.effort is not None
        return [Change(["reasoning"], "nothing is said about thinking")] if said else []
    out = []
    if old.off != new.off:
        out.append(Change(["reasoning"], f"off {old.off} became {new.off}"))
    elif (
        not old.off
        and old.effort not in (None, new.effort)
        and old.budget_tokens != new.budget_tokens
    ):
        paths = ["reasoning.effort", "reasoning.budget_tokens"]
        out.append(Change(paths, f"{old} became {new}"))
    wanted, told = before.reasoning.visible, after.reasoning.visible
    if not old.off and ((wanted is True and told is not True) or (wanted is False and told)):
        out.append(Change(["reasoning.visible"], f"{wanted} became {told}"))
    return out


def _form(before, after):
    old, new = before.output, after.output
    if old is None or old.kind == "text":
        return []
    if new is None or new.kind != old.kind:
        return [Change(["output"], f"{old.kind} became {None if new is None else new.kind}")]
    if not keeps_schema(old.schema, new.schema):
        return [Change(["output.schema"], f"{old.schema} became {new.schema}")]
    return []


def _native(before):
    fields = {} if before.native is None else before.native.fields
    return [Change([f"native.{key}"], "dropped") for key in fields if not key.startswith("$")]


def uncovered(differences, losses):
    """The differences that no loss names.

    What is missing in one place with a loss may be new in another: then it was moved.
    """
    moved = [
        change.gone.key[2:]
        for change in differences
        if change.gone is not None and covered(change.paths, losses)
    ]
    return [
        f"{change.paths[0]}: {change.text}"
        for change in differences
        if not covered(change.paths, losses)
        and not (change.came is not None and change.came.key[2:] in moved)
    ]


def covered(paths, losses):
    """Whether a difference is named by a loss: of the same thing, a part of it, or its whole."""
    return any(
        path == loss.path
        or _inside(path, loss.path)
        or _inside(loss.path, path)
        or (path.endswith(".cache") and loss.path.endswith("cache"))  # told once for all marks
        for path in paths
        for loss in losses
    )


def _inside(path, whole):
    return path.startswith((f"{whole}.", f"{whole}["))


def answer_differences(before, after):
    """What two whole answers say differently, as one line each."""
    out = []
    for name in ("text", "refusal", "thought", "calls", "media"):
        old, new = _ANSWER[name](before), _ANSWER[name](after)
        if old != new:
            out.append(f"{name}: {old!r} became {new!r}")
    for name in ("stop", "stop_sequence", "usage"):
        old, new = _shown(getattr(before, name)), _shown(getattr(after, name))
        if old != new:
            out.append(f"{name}: {old} became {new}")
    return out


def call_ids(answer):
    return [part.id for part in answer.parts if isinstance(part, ToolCall)]


def _shown(value):
    """A value as it reads; counts that are nought are as good as unsaid (Responses needs some)."""
    if isinstance(value, Usage):
        said = {name: getattr(value, name) for name in Usage.__slots__}
        return " ".join(f"{key}={number}" for key, number in said.items() if number)
    return repr(value)


_ANSWER = {
    "text": lambda answer: "".join(p.text for p in answer.parts if isinstance(p, Text)),
    "refusal": lambda answer: "".join(p.text for p in answer.parts if isinstance(p, Refusal)),
    "thought": lambda answer: "\n\n".join(
        p.text for p in answer.parts if isinstance(p, Reasoning) and p.text
    ),
    "calls": lambda answer: [
        (p.name, arguments_key(p)) for p in answer.parts if isinstance(p, ToolCall)
    ],
    "media": lambda answer: [
        (p.kind, p.data or p.url) for p in answer.parts if isinstance(p, Media)
    ],
}
