"""Settings text to ``Config``, with every fault reported at once.

``load`` takes four steps and raises only after the last: YAML to plain values with line numbers
(``app.yamltree``), overrides from the environment, the models of ``app.config`` for the shape of
each value, and the rules here that concern several values at once.
"""

from __future__ import annotations

import difflib
import ipaddress
import itertools
import re
from collections.abc import Iterator, Mapping
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin
from urllib.parse import urlsplit

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from app.config import BUILT_IN_PROVIDERS, DIALECTS, REFERENCE, Config
from app.errors import ConfigError, ConfigProblem

if TYPE_CHECKING:
    from app.yamltree import KeyPath, Tree

__all__ = ["is_loopback", "load", "nearest", "render_path"]

_RESERVED_PROVIDERS = ("demo",)
_ENV_PREFIX = "DRAGOMAN_"
_PROVIDER_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


def load(text: str, file: str, env: Mapping[str, str]) -> Config:
    """Read the settings.

    Args:
        text: YAML text; may be empty.
        file: name of the file, for messages.
        env: environment; ``DRAGOMAN_SECTION__KEY`` overrides the file, lists and mappings in
            YAML's flow form (``[a, b]``). A secret given so is kept as a reference to its variable.

    Raises:
        ConfigError: with every fault, sorted by line. No message holds a secret.
    """
    if not text.strip():
        return _Reading(file, None).finish({}, env)  # the YAML reader is not even imported
    from app.yamltree import parse_yaml

    tree = parse_yaml(text)
    reading = _Reading(file, tree)
    for fault in tree.faults:
        reading.add(fault.path, fault.message, line=fault.line)
    if tree.value is None and tree.faults:
        raise ConfigError(reading.problems)
    if not isinstance(tree.value, dict | None):
        sections = ", ".join(list(Config.model_fields)[:3])
        reading.add((), f"expected sections such as {sections}", line=tree.lines[()])
        raise ConfigError(reading.problems)
    return reading.finish(tree.value or {}, env)


class _Reading:
    """Collects the problems of one reading."""

    def __init__(self, file: str, tree: Tree | None) -> None:
        self.problems: list[ConfigProblem] = []
        self._file = file
        self._tree = tree
        self._variables: dict[KeyPath, str] = {}
        """Where a value came from the environment: its path → the variable."""

    def add(self, path: KeyPath, message: str, line: int | None = None) -> None:
        """Note a problem at a key path."""
        key = render_path(path)
        if variable := self._source(path):
            problem = ConfigProblem(f"environment ({variable})", 0, key, message)
        else:
            where = line if line is not None else self._tree.line(path) if self._tree else 0
            problem = ConfigProblem(self._file, where, key, message)
        if problem not in self.problems:
            self.problems.append(problem)

    def _source(self, path: KeyPath) -> str | None:
        """Return the variable that set a key, or created it on the way; None: the file did."""
        for length in range(len(path), 0, -1):
            if variable := self._variables.get(path[:length]):
                return variable
        if self._tree and path in self._tree.lines:
            return None
        return next((v for p, v in self._variables.items() if path == p[: len(path)]), None)

    def finish(self, tree: dict[str, Any], env: Mapping[str, str]) -> Config:
        """Validate the tree, with overrides applied, and raise all problems or return."""
        self._override(tree, env)
        config = None
        try:
            config = Config.model_validate(tree)
        except ValidationError as error:
            for item in error.errors(include_url=False, include_input=False):
                self.add(*_describe(item))
        faults = (*_provider_faults(tree), *_service_faults(tree))
        for path, message in (*self._misplaced_references(tree, ()), *faults):
            self.add(path, message)
        if config is None or self.problems:
            self.problems.sort(key=lambda problem: (problem.line, problem.key))
            raise ConfigError(self.problems) from None
        return config

    def _misplaced_references(self, value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
        """Find ``${NAME}`` where it would be taken for text."""
        match value:
            case dict():
                for key, item in value.items():
                    yield from self._misplaced_references(item, (*path, key))
            case list():
                for i, item in enumerate(value):
                    yield from self._misplaced_references(item, (*path, i))
            case str() if REFERENCE.search(value) and not self._takes_references(path):
                yield path, "${NAME} is replaced only in api_key, headers and proxy"

    def _takes_references(self, path: KeyPath) -> bool:
        # A regular expression may hold these characters; the database's URL is a reference only
        # when it came from the environment.
        return (
            _holds_secret(path)
            or path[-1:] == ("match",)
            or (path == ("database", "url") and path in self._variables)
        )

    def _override(self, tree: dict[str, Any], env: Mapping[str, str]) -> None:
        for variable in sorted(env):
            name = variable.upper()
            if not name.startswith(_ENV_PREFIX) or "__" not in name or not env[variable]:
                continue
            parts = name.removeprefix(_ENV_PREFIX).lower().split("__")
            try:
                path = _place(tree, parts)
                self._variables[path] = variable
                _put(tree, path, _override_value(path, variable, env[variable]))
            except (ValueError, TypeError) as error:
                problem = ConfigProblem(f"environment ({variable})", 0, "", str(error))
                self.problems.append(problem)


def _place(tree: Any, parts: list[str]) -> KeyPath:
    """Return the path that a variable means; names match in any case, with ``-`` or ``.`` as _."""
    path: list[str | int] = []
    for part in parts:
        if not part:
            raise ValueError("expected a name of the form DRAGOMAN_SECTION__KEY")
        step: str | int = part
        if isinstance(tree, dict):
            named = (key for key in tree if re.sub(r"[-.]", "_", str(key)).lower() == part)
            step = next(named, part)
            tree = tree.get(step)
        elif isinstance(tree, list):
            if not part.isdecimal() or int(part) >= len(tree):
                raise ValueError(f"expected the position of an entry, 0 to {len(tree) - 1}")
            step = int(part)
            tree = tree[step]
        else:
            tree = None
        path.append(step)
    return tuple(path)


def _put(tree: dict[str, Any], path: KeyPath, value: Any) -> None:
    node: Any = tree
    step: Any
    for step, following in itertools.pairwise(path):
        child = node[step] if isinstance(node, list) else node.get(step)
        if child is None:
            child = {}
            node[step] = child
        elif not isinstance(child, dict | list):
            raise TypeError(f"{step} is a single value; it has no {following}")
        node = child
    node[path[-1]] = value


def _override_value(path: KeyPath, variable: str, value: str) -> Any:
    value = value.strip()
    if value.startswith(("[", "{")):
        from app.yamltree import parse_yaml

        tree = parse_yaml(value)
        if tree.faults:
            raise ValueError(tree.faults[0].message)
        return tree.value
    if value == "null":
        return None
    if (_holds_secret(path) or path == ("database", "url")) and "${" not in value:
        return f"${{{variable}}}"  # by name, so that no dump of the settings can show it
    return value


def _holds_secret(path: KeyPath) -> bool:
    if path[:1] == ("providers",) and path[-2:-1] == ("headers",):
        return True
    return path[-1:] in (("api_key",), ("proxy",)) and path[0] in (
        "providers",
        "services",
        "upstream",
    )


def render_path(path: KeyPath) -> str:
    """Return a key path as people write it: ``providers.openai.accounts[0].label``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def nearest(name: str, valid: Mapping[str, Any] | tuple[str, ...] | list[str]) -> str:
    """Return a clause with the nearest valid name, or with all where none is near."""
    names = sorted(valid)
    close = difflib.get_close_matches(name.lower(), names, 1, 0.6)
    if close:
        return f"did you mean {close[0]}?"
    return f"expected one of {', '.join(names)}" if names else "expected no keys here"


def _describe(item: ErrorDetails) -> tuple[KeyPath, str]:
    """Return path and sentence for one of pydantic's errors."""
    path = tuple(part for part in item["loc"] if part != "[key]")
    context = item.get("ctx", {})
    kind = item["type"]
    if kind == "extra_forbidden":
        return path, f"unknown key; {nearest(str(path[-1]), _keys_at(path[:-1]))}"
    if kind == "missing":
        return path, "is required"
    if kind == "value_error":
        return path, str(context["error"])
    if kind == "literal_error":
        return path, f"expected {context['expected']}"
    for prefix, expected in _EXPECTED.items():
        if kind.startswith(prefix):
            return path, expected
    return path, item["msg"].replace("Input should be", "expected a value", 1)


_EXPECTED = {
    "int_": "expected a whole number",
    "float_": "expected a number",
    "bool_": "expected true or false",
    "string_type": "expected text",
    "string_too_short": "expected some text",
    "model_type": "expected keys and values",
    "model_attributes_type": "expected keys and values",
    "mapping_type": "expected keys and values",
    "dict_type": "expected keys and values",
    "tuple_type": "expected a list",
    "list_type": "expected a list",
    "too_short": "expected at least one entry",
}
"""First letters of pydantic's error types → our words."""


def _keys_at(path: KeyPath) -> list[str]:
    """Return the keys that the model at a path has; none where there is no model."""
    annotation: Any = Config
    for part in path:
        annotation = _step(annotation, part)
    annotation = _bare(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [field.alias or name for name, field in annotation.model_fields.items()]
    return []


def _step(annotation: Any, part: str | int) -> Any:
    annotation = _bare(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        for name, field in annotation.model_fields.items():
            if part in (name, field.alias):
                return field.annotation
        return None
    arguments = get_args(annotation)
    return arguments[0 if isinstance(part, int) else -1] if arguments else None


def _bare(annotation: Any) -> Any:
    """Return an annotation without ``Annotated`` and ``| None``."""
    while True:
        origin = get_origin(annotation)
        if origin is Annotated:
            annotation = get_args(annotation)[0]
        elif origin in (Union, UnionType):
            annotation = next(a for a in get_args(annotation) if a is not type(None))
        else:
            return annotation


def _provider_faults(tree: dict[str, Any]) -> Iterator[tuple[KeyPath, str]]:
    """Check what concerns several values of a provider; values of a wrong type are left alone."""
    providers = tree.get("providers")
    if not isinstance(providers, dict):
        return
    for name, entry in providers.items():
        path: KeyPath = ("providers", name)
        entry = {} if entry is None else entry
        yield from _name_faults(name, entry, path)
        if isinstance(entry, dict):
            yield from _account_faults(entry, path)


def _service_faults(tree: dict[str, Any]) -> Iterator[tuple[KeyPath, str]]:
    """Check where helper programs are that the user runs: prompts must not travel in the open."""
    services = tree.get("services")
    for name, entry in services.items() if isinstance(services, dict) else ():
        if isinstance(entry, dict) and _is_open_http(entry.get("url")):
            yield ("services", name, "url"), "expected https, or http on this machine"


def _name_faults(name: str, entry: Any, path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    kind = entry.get("kind") if isinstance(entry, dict) else None
    if name in BUILT_IN_PROVIDERS:
        for key in ("kind", "dialect"):
            if isinstance(entry, dict) and entry.get(key) is not None:
                yield (
                    (*path, key),
                    f"{name} is built in; remove this key, or name the server otherwise",
                )
    elif name in _RESERVED_PROVIDERS:
        yield path, "the name is taken by the demo; choose another"
    elif not _PROVIDER_NAME.fullmatch(name):
        yield path, "expected a name of small letters, digits, - and _"
    elif kind is None:
        hint = nearest(name, BUILT_IN_PROVIDERS)
        yield path, f"this is no built-in provider ({hint}) and has no kind: compatible"
    elif kind == "compatible" and entry.get("dialect") is None:
        yield (*path, "dialect"), f"is required: one of {', '.join(DIALECTS)}"


def _account_faults(entry: dict[str, Any], path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    written = entry.get("accounts")
    accounts = (
        [a if isinstance(a, dict) else {} for a in written or ()] if _is_list(written) else []
    )
    if accounts and entry.get("api_key") is not None:
        yield (*path, "api_key"), "expected either api_key here or accounts, not both"
    compatible = entry.get("kind") == "compatible" and path[-1] not in BUILT_IN_PROVIDERS
    if compatible and entry.get("base_url") is None:
        if not accounts:
            yield (*path, "base_url"), "is required for a compatible server"
        for i, account in enumerate(accounts):
            if account.get("base_url") is None:
                yield (*path, "accounts", i, "base_url"), "is required here or beside accounts"
    allowed = entry.get("insecure_http") in (True, "true")
    if _is_open_http(entry.get("base_url")) and not allowed:
        yield (*path, "base_url"), _OPEN_HTTP
    labels: dict[str, int] = {}
    for i, account in enumerate(accounts):
        place = (*path, "accounts", i)
        if _is_open_http(account.get("base_url")) and account.get("insecure_http", allowed) not in (
            True,
            "true",
        ):
            yield (*place, "base_url"), _OPEN_HTTP
        label = account.get("label") or f"{path[-1]}-{i + 1}"
        if isinstance(label, str) and labels.setdefault(label, i) != i:
            yield (*place, "label"), f"another account of this provider is called {label}"


_OPEN_HTTP = "expected https; http to another machine needs insecure_http: true beside it"


def _is_list(value: object) -> bool:
    return isinstance(value, list)


def _is_open_http(url: object) -> bool:
    """Say whether a URL sends unencrypted text to another machine."""
    if not isinstance(url, str):
        return False
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False  # reported as no URL
    return parts.scheme == "http" and bool(host) and not is_loopback(host)


def is_loopback(host: str) -> bool:
    """Say whether a host name or address, without port, can only mean this machine."""
    if host.lower() in ("localhost", "loopback"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
