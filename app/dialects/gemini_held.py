"""Calls whose arguments a service streams in pieces.

Each piece of ``partialArgs`` has a JSON path and a value; a string goes on where the piece before
it at the same path said ``willContinue``. Lists grow by one place at a time. The call is complete
with the first part that does not say ``willContinue`` itself.

Source: ``PartialArg`` in the types of google-genai 3.4; Vertex sends them when
``streamFunctionCallArguments`` is on.
"""

from __future__ import annotations

import re
from itertools import pairwise

from app.canonical.parts import Json, JsonObject
from app.dialects.gemini_parts import fields
from app.dialects.values import need_text
from app.errors import RequestError

__all__ = ["HeldCall"]


class HeldCall:
    """A call whose arguments arrive piece by piece.

    ``call`` are the fields of the ``functionCall`` so far, ``rest`` those beside it in its part.
    """

    __slots__ = ("_args", "_growing", "call", "rest")

    def __init__(self, call: JsonObject, rest: JsonObject) -> None:
        self.call = call
        self.rest = rest
        self._args: JsonObject = {}
        self._growing: set[str] = set()

    def add(self, pieces: list[Json], path: str) -> None:
        """Take ``partialArgs``.

        Raises:
            RequestError: a piece is malformed, or its path does not fit what came before.
        """
        for number, value in enumerate(pieces):
            piece = fields(value, f"{path}[{number}]")
            where = need_text(piece.get("jsonPath", ""), f"{path}[{number}].jsonPath")
            _put(self._args, where, _value_of(piece), grow=where in self._growing)
            if piece.get("willContinue") is True:
                self._growing.add(where)
            else:
                self._growing.discard(where)

    def part(self) -> JsonObject:
        """Return the whole part, as if it had come in one piece."""
        given = self.call.get("args")
        args = {**given, **self._args} if isinstance(given, dict) else self._args
        return {**self.rest, "functionCall": {**self.call, "args": args}}


def _value_of(piece: JsonObject) -> Json:
    for key in ("stringValue", "numberValue", "boolValue"):
        if key in piece:
            return piece[key]
    return None


_STEP = re.compile(r"\.([^.\[\]]+)|\[(?:'([^']*)'|\"([^\"]*)\"|(\d{1,6}))\]")


def _steps(path: str) -> list[str | int]:
    steps: list[str | int] = []
    place = 1
    while place < len(path):
        found = _STEP.match(path, place)
        if found is None or not path.startswith("$"):
            break
        name = next((group for group in found.groups()[:3] if group is not None), None)
        steps.append(int(found[4]) if name is None else name)
        place = found.end()
    if not steps or place < len(path) or len(steps) > 64:
        raise RequestError(f"jsonPath cannot be read: {path[:80]!r}.", param="jsonPath")
    return steps


def _put(root: JsonObject, path: str, value: Json, *, grow: bool) -> None:
    steps = _steps(path)
    here: Json = root
    for step, following in pairwise(steps):
        fresh: Json = [] if isinstance(following, int) else {}
        here = _enter(here, step, fresh, path)
    last = steps[-1]
    old = _enter(here, last, value, path)
    if grow and isinstance(old, str) and isinstance(value, str):
        value = old + value
    if isinstance(here, dict):
        here[str(last)] = value
    elif isinstance(here, list) and isinstance(last, int):
        here[last] = value


def _enter(here: Json, step: str | int, fresh: Json, path: str) -> Json:
    """Return what stands at a step, putting ``fresh`` there when nothing does."""
    if isinstance(here, dict) and isinstance(step, str):
        return here.setdefault(step, fresh)
    if isinstance(here, list) and isinstance(step, int) and step <= len(here):
        if step == len(here):
            here.append(fresh)
        return here[step]
    raise RequestError(f"jsonPath does not fit: {path[:80]!r}.", param="jsonPath")
