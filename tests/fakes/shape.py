"""Check JSON against the official SDKs' request types, closed to unknown fields.

The SDKs generate their ``TypedDict`` request types from the services' own API descriptions, so
they are the nearest public statement of what a service takes. pydantic cannot close them to
unknown fields throughout, nor tell which member of a union was meant; this walk does both and
leaves the wording to each fake.
"""

import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import typing_extensions
from typing_extensions import is_typeddict


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a document.

    ``kind`` is ``extra`` (unknown field), ``missing``, ``type`` (wrong JSON type; ``expected``
    lists the right ones), ``value`` (not one of ``expected``) or ``tag`` (a union member that
    does not exist; ``expected`` lists the tags, ``key`` the discriminating field).
    """

    kind: str
    path: tuple
    """Keys and indices from the root."""
    tagged: tuple
    """The same with the tag of each discriminated union in between, as pydantic prints it."""
    got: object = None
    expected: tuple = ()
    key: str = "type"


@lru_cache(maxsize=4096)
def fields(cls):
    """Return ``{name: (hint, required)}`` of a TypedDict."""
    found = {}
    for name, hint in typing_extensions.get_type_hints(cls, include_extras=True).items():
        required = name in cls.__required_keys__
        origin = typing.get_origin(hint)
        if origin is typing_extensions.Required:
            hint, required = typing.get_args(hint)[0], True
        elif origin is typing_extensions.NotRequired:
            hint, required = typing.get_args(hint)[0], False
        found[name] = (hint, required)
    return found


def _members(hint):
    """Return the members of a union, flat, annotations removed."""
    if isinstance(hint, typing_extensions.TypeAliasType):
        return _members(hint.__value__)
    origin = typing.get_origin(hint)
    if origin in (typing.Annotated, typing_extensions.Required, typing_extensions.NotRequired):
        return _members(typing.get_args(hint)[0])
    if origin in (typing.Union, types.UnionType):
        return [m for arg in typing.get_args(hint) for m in _members(arg)]
    return [hint]


def _is_literal(hint):
    return typing.get_origin(hint) is typing.Literal


def _is_list(hint):
    origin = typing.get_origin(hint)
    return isinstance(origin, type) and (
        origin.__name__ == "SequenceNotStr" or origin in (list, Iterable, Sequence, tuple)
    )


def _is_map(hint):
    return typing.get_origin(hint) in (dict, Mapping)


def _names(members):
    """Return the JSON types that a union takes, in the order of its members."""
    names = []
    for member in members:
        if member is str or (_is_literal(member) and isinstance(typing.get_args(member)[0], str)):
            name = "string"
        elif member is bool or (
            _is_literal(member) and isinstance(typing.get_args(member)[0], bool)
        ):
            name = "boolean"
        elif member is int:
            name = "integer"
        elif member is float:
            name = "number"
        elif is_typeddict(member) or _is_map(member):
            name = "object"
        elif _is_list(member):
            name = "array"
        else:
            continue
        if name not in names:
            names.append(name)
    return tuple(names)


def json_type(value):
    """Return the JSON name of a value's type."""
    if value is None:
        return "null"
    for kinds, name in (
        (bool, "boolean"),
        (int, "integer"),
        (float, "number"),
        (str, "string"),
        (list, "array"),
    ):
        if isinstance(value, kinds):
            return name
    return "object"


def check(value, hint, path=(), tagged=()):
    """Return every ``Problem`` of a JSON value under a type hint."""
    members = _members(hint)
    if any(m in (typing.Any, object) for m in members):
        return []
    wrong = [Problem("type", path, tagged, value, _names(members))]
    if value is None:
        return [] if type(None) in members else wrong
    if isinstance(value, dict):
        return _check_object(value, members, path, tagged, wrong)
    if isinstance(value, list):
        lists = [m for m in members if _is_list(m)]
        return _best([_check_list(value, m, path, tagged) for m in lists], wrong)
    return _check_scalar(value, members, path, tagged, wrong)


def _check_scalar(value, members, path, tagged, wrong):
    plain = {str: str, bool: bool, int: int, float: (int, float)}
    for member in members:
        kind = plain.get(member)
        if kind and isinstance(value, kind) and (member is bool or not isinstance(value, bool)):
            return []
    allowed = tuple(a for m in members if _is_literal(m) for a in typing.get_args(m))
    if any(value == a and type(value) is type(a) for a in allowed):
        return []
    if any(type(value) is type(a) for a in allowed):
        return [Problem("value", path, tagged, value, allowed)]
    return wrong


def _check_list(value, member, path, tagged):
    item = typing.get_args(member)[0]
    return [
        problem
        for i, element in enumerate(value)
        for problem in check(element, item, (*path, i), (*tagged, i))
    ]


def _best(outcomes, wrong):
    """Return the outcome with the fewest problems; ``wrong`` when nothing was tried."""
    return min(outcomes, key=len) if outcomes else wrong


def _check_object(value, members, path, tagged, wrong):
    classes = [m for m in members if is_typeddict(m)]
    maps = [m for m in members if _is_map(m)]
    if not classes:
        return _best([_check_map(value, m, path, tagged) for m in maps], wrong)
    for key in ("type", "role"):
        if len(classes) == 1:
            break
        chosen, problem = _choose(value, classes, key, path, tagged)
        if problem:
            return [problem]
        if key == "type" and chosen != classes:
            tagged = (*tagged, value.get("type") or _tag(chosen[0], "type")[0])
        classes = chosen
    found = _best([_check_fields(value, cls, path, tagged) for cls in classes], wrong)
    # a TypedDict beside a plain dict states known fields of an open object
    return [p for p in found if not (p.kind == "extra" and p.path[:-1] == path)] if maps else found


def _tag(cls, key):
    """Return the values that a class takes in its discriminating field, () if it has none."""
    if key not in fields(cls):
        return ()
    members = _members(fields(cls)[key][0])
    return tuple(a for m in members if _is_literal(m) for a in typing.get_args(m))


def _choose(value, classes, key, path, tagged):
    """Return the classes whose field ``key`` fits a value, or the problem that none does."""
    tags = {cls: _tag(cls, key) for cls in classes}
    if not any(tags.values()):
        return classes, None
    got = value.get(key)
    if got is None:
        chosen = [c for c in classes if key not in fields(c) or not fields(c)[key][1]]
    else:
        chosen = [c for c in classes if got in tags[c] or (key in fields(c) and not tags[c])]
    if chosen:
        return chosen, None
    every = tuple(dict.fromkeys(t for c in classes for t in tags[c]))
    kind = "tag" if key in value else "missing"
    return [], Problem(kind, (*path, key), (*tagged, key), got, every, key)


def _check_map(value, member, path, tagged):
    item = typing.get_args(member)[1]
    return [
        problem
        for key, element in value.items()
        for problem in check(element, item, (*path, key), (*tagged, key))
    ]


def _check_fields(value, cls, path, tagged):
    known = fields(cls)
    problems = [
        Problem("missing", (*path, name), (*tagged, name))
        for name, (_, required) in known.items()
        if required and name not in value
    ]
    for name, element in value.items():
        if name in known:
            problems += check(element, known[name][0], (*path, name), (*tagged, name))
        else:
            problems.append(Problem("extra", (*path, name), (*tagged, name), element))
    return problems


def allow(problems, *patterns):
    """Drop problems at paths that the live services accept although the types do not list them.

    A pattern is a tuple like a path, with ``None`` for any element and ``...`` for any rest.
    """
    return [p for p in problems if not any(_fits(p.path, pattern) for pattern in patterns)]


def _fits(path, pattern):
    if pattern and pattern[-1] is ...:
        path, pattern = path[: len(pattern) - 1], pattern[:-1]
    return len(path) == len(pattern) and all(
        want is None or want == have for have, want in zip(path, pattern, strict=True)
    )


def moved(problem, path):
    """Return a problem with its path put under another one."""
    return replace(problem, path=(*path, *problem.path), tagged=(*path, *problem.tagged))
