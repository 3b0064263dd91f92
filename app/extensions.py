"""Rules and hooks of the user's own: loading them, and keeping their faults to themselves.

They come from files that the settings name (``models.extensions``), each with ``RULES`` and
``HOOKS`` (name to function or object), and from installed distributions (entry points of the groups
``dragoman.rules`` and ``dragoman.hooks``). They run in the proxy's own process and on its loop: what
they wait for, everybody waits for.

A broken one is reported when it is loaded, with file and line. One that fails while it runs is
isolated: its rule does not match, its change is left out; the trace of the request, the log and
``Extensions.health`` say so.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import inspect
import logging
import stat
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import msgspec

from app.canonical.parts import Json, JsonObject
from app.dialects.base import DELETE, Delete, patch_object
from app.errors import ConfigProblem
from app.routing.ccproxy import CALLS
from app.routing.conditions import CustomRule
from app.routing.facts import FactsMissing, RequestFacts, TokensWanted

__all__ = ["NO_EXTENSIONS", "Extensions", "Guard", "Hook", "load_extensions"]

_log = logging.getLogger("dragoman.extensions")
_T = TypeVar("_T")

_GROUPS = ("dragoman.rules", "dragoman.hooks")
_FIXED = ("model", "stream")
"""Fields that no hook changes: who answers, and how, is decided by then."""
_SLOW_S = 0.1
"""A longer run is noticed by everybody who waits meanwhile."""


@dataclass(slots=True)
class Guard:
    """Watches one extension: counts its failures and tells the log of the first and of fewer later.

    The log hears of failures 1, 2, 4, 8 and so on, so that one that fails on every call does not
    fill it.
    """

    name: str
    kind: str
    """``rule`` or ``hook``."""
    source: str
    """File, or entry point."""
    failures: int = 0
    last: str = ""
    """The last failure, with its place."""
    slow: int = 0
    """How often others had to wait for it."""
    clock: Callable[[], float] = time.perf_counter

    def run(self, call: Callable[[], _T]) -> _T:
        """Call foreign code.

        Raises:
            FactsMissing: it failed, or asked for what cannot be had; the text says how.
            TokensWanted: it asks for the number of tokens.
        """
        began = self.clock()
        try:
            return call()
        except (TokensWanted, FactsMissing):
            raise
        except Exception as error:  # a border to foreign code: anything may come, and is told
            self.failed(f"{type(error).__name__}: {error} ({_place(error, self.source)})", error)
            raise FactsMissing(f"{self.kind} {self.name} failed: {self.last}") from error
        finally:
            spent = self.clock() - began
            if spent > _SLOW_S:
                self._was_slow(spent)

    def failed(self, what: str, error: Exception | None = None) -> None:
        """Note a failure."""
        self.failures += 1
        self.last = what[:500]
        if self.failures.bit_count() == 1:
            times = "" if self.failures == 1 else f" for the {self.failures}th time"
            _log.warning(
                "%s %s failed%s: %s", self.kind, self.name, times, self.last, exc_info=error
            )

    def _was_slow(self, spent: float) -> None:
        self.slow += 1
        if self.slow.bit_count() == 1:
            _log.warning(
                "%s %s took %.0f ms, and every other call waited meanwhile",
                self.kind,
                self.name,
                spent * 1000,
            )


@dataclass(frozen=True, slots=True)
class Hook:
    """One hook; either function may be missing."""

    guard: Guard
    on_request: Callable[[RequestFacts, JsonObject], Mapping[str, Any] | None] | None
    on_response: Callable[[RequestFacts, Mapping[str, Any]], None] | None


@dataclass(frozen=True, slots=True)
class Extensions:
    """What was loaded, and what could not be."""

    rules: Mapping[str, CustomRule] = field(default_factory=dict)
    hooks: Mapping[str, Hook] = field(default_factory=dict)
    problems: tuple[ConfigProblem, ...] = ()
    guards: tuple[Guard, ...] = ()

    def edits(
        self, names: Sequence[str], facts: RequestFacts, head: Mapping[str, msgspec.Raw]
    ) -> tuple[dict[str, Json | Delete], tuple[str, ...]]:
        """Ask hooks what to change in a request.

        Args:
            names: hooks in the order of asking, from the settings; each sees what those before it
                changed. Unknown ones were reported at the start.
            facts: of the call.
            head: the top level of the body, as rules left it.

        Returns:
            For ``dialects.base.patch_object``, and what went wrong, one sentence each.
        """
        changed: dict[str, Json | Delete] = {}
        notes: list[str] = []
        for name in names:
            hook = self.hooks.get(name)
            if hook is None or hook.on_request is None:
                continue
            try:
                # Each has a body of its own, so that what one scribbles on it is nobody else's.
                body: JsonObject = msgspec.json.decode(patch_object(head, changed))
                changed.update(_asked(hook, facts, body))
            except FactsMissing as error:
                notes.append(str(error))
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                notes.append(f"hook {name} was not asked: the body cannot be read ({error})")
        return changed, tuple(notes)

    def answered(
        self, names: Sequence[str], facts: RequestFacts, answer: Mapping[str, Any]
    ) -> None:
        """Tell hooks how a request ended; what they answer or fail at changes nothing.

        ``answer``: ``status``, ``model`` (served), ``provider``, ``account``, ``error`` (text or
        None), ``input_tokens``, ``output_tokens`` (None where unknown), ``duration_s``.
        """
        for name in names:
            hook = self.hooks.get(name)
            tell = None if hook is None else hook.on_response
            if hook is None or tell is None:
                continue
            try:
                hook.guard.run(lambda tell=tell: tell(facts, dict(answer)))  # type: ignore[misc]
            except (FactsMissing, TokensWanted):
                continue  # the guard has told of it, or there is nothing left to count for

    def health(self) -> list[dict[str, Any]]:
        """Return the state of each extension, for status."""
        return [
            {
                "name": guard.name,
                "kind": guard.kind,
                "source": guard.source,
                "failures": guard.failures,
                "last_failure": guard.last,
                "slow": guard.slow,
            }
            for guard in self.guards
        ]


NO_EXTENSIONS = Extensions()


def _asked(hook: Hook, facts: RequestFacts, body: JsonObject) -> dict[str, Json | Delete]:
    """Return a hook's wish, checked.

    Raises:
        FactsMissing: it failed, or wishes for what is none of its business.
    """
    on_request, guard = hook.on_request, hook.guard
    assert on_request is not None  # noqa: S101 - asked only of such hooks
    try:
        wish = guard.run(lambda: on_request(facts, body))
    except TokensWanted:
        guard.failed("it asks for the number of tokens, which only rules can do")
        raise FactsMissing(f"hook {guard.name} failed: {guard.last}") from None
    if wish is None:
        return {}
    try:
        return _checked_wish(wish)
    except (TypeError, ValueError) as error:
        guard.failed(str(error))
        raise FactsMissing(f"hook {guard.name} failed: {error}") from error


def _checked_wish(wish: object) -> dict[str, Json | Delete]:
    if not isinstance(wish, Mapping):
        raise TypeError(f"expected a mapping of fields, or None, not {type(wish).__name__}")
    changed: dict[str, Json | Delete] = {}
    for name, value in wish.items():
        if not isinstance(name, str):
            raise TypeError(f"expected names of fields, not {name!r}")
        if name in _FIXED:
            raise ValueError(f"a hook cannot change the field {name}; a rule can choose the model")
        # Through JSON and back: what is not JSON fails here, and the hook keeps no hold of it.
        changed[name] = DELETE if value is ... else msgspec.json.decode(msgspec.json.encode(value))
    return changed


# Loading.


def load_extensions(
    files: Sequence[str],
    folder: Path,
    entry_points: Iterable[importlib.metadata.EntryPoint] | None = None,
) -> Extensions:
    """Load the user's own rules and hooks.

    Nothing is raised: what cannot be loaded is among ``problems``, with file and line where there
    are any, and the rest is loaded.

    Args:
        files: from the settings; relative ones lie in ``folder``.
        folder: that of the settings.
        entry_points: those of the installed distributions when None.
    """
    loading = _Loading()
    for i, name in enumerate(files):
        loading.file(Path(name).expanduser(), folder, f"models.extensions[{i}]")
    if entry_points is None:
        found = [importlib.metadata.entry_points(group=group) for group in _GROUPS]
        entry_points = [point for points in found for point in points]
    for point in entry_points:
        loading.entry_point(point)
    return Extensions(loading.rules, loading.hooks, tuple(loading.problems), tuple(loading.guards))


class _Loading:
    def __init__(self) -> None:
        self.rules: dict[str, CustomRule] = {}
        self.hooks: dict[str, Hook] = {}
        self.problems: list[ConfigProblem] = []
        self.guards: list[Guard] = []

    def _problem(self, file: str, line: int, key: str, message: str) -> None:
        self.problems.append(ConfigProblem(file, line, key, message))

    def file(self, path: Path, folder: Path, key: str) -> None:
        path = path if path.is_absolute() else folder / path
        module = self._module(path, key)
        if module is None:
            return
        groups = (("RULES", self._rule), ("HOOKS", self._hook))
        if not any(hasattr(module, name) for name, _ in groups):
            self._problem(str(path), 0, key, "expected RULES or HOOKS, a mapping of names")
        for group, add in groups:
            entries = getattr(module, group, {})
            if not isinstance(entries, Mapping):
                self._problem(str(path), 0, group, "expected a mapping of names")
                continue
            for name, value in entries.items():
                add(name, value, str(path), _line_of(value, path), f"{group}[{name!r}]")

    def _module(self, path: Path, key: str) -> ModuleType | None:
        try:
            mode = path.stat().st_mode
        except OSError as error:
            self._problem(str(path), 0, key, f"cannot be read: {error.strerror or error}")
            return None
        if not stat.S_ISREG(mode):
            self._problem(str(path), 0, key, "expected a file")
            return None
        if mode & stat.S_IWOTH:
            # Whoever writes it runs code with this user's accounts.
            self._problem(str(path), 0, key, "everybody may write this file, so it is not run")
            return None
        mark = hashlib.sha256(str(path).encode("utf-8", "surrogateescape")).hexdigest()[:12]
        name = f"dragoman_extension_{mark}"
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            self._problem(str(path), 0, key, "expected a Python file (.py)")
            return None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # where dataclasses look for the names of their annotations
        try:
            # Compiled from the text, not from a cache that a change within the second would miss.
            code = compile(path.read_bytes(), str(path), "exec")
            exec(code, module.__dict__)  # noqa: S102 - the user named this file to be run
        except SyntaxError as error:
            self._problem(str(path), error.lineno or 0, key, f"is not valid Python: {error.msg}")
        except (Exception, SystemExit) as error:  # foreign code: anything may come, and is told
            line = _line_in(error, str(path))
            self._problem(str(path), line, key, f"fails with {type(error).__name__}: {error}")
        else:
            return module
        return None

    def entry_point(self, point: importlib.metadata.EntryPoint) -> None:
        dist = point.dist.name if point.dist is not None else "an installed distribution"
        source = f"{dist} ({point.value})"
        key = f"{point.group}.{point.name}"
        try:
            value = point.load()
            if point.group == "dragoman.hooks" and isinstance(value, type):
                value = value()
        except (Exception, SystemExit) as error:  # foreign code: anything may come, and is told
            frames = traceback.extract_tb(error.__traceback__)
            last = frames[-1] if frames else None
            file = last.filename if last is not None else source
            line = (last.lineno or 0) if last is not None else 0
            message = f"{source} fails with {type(error).__name__}: {error}"
            self._problem(file, line, key, message)
            return
        add = self._rule if point.group == "dragoman.rules" else self._hook
        add(point.name, value, source, 0, key)

    def _named(self, name: object, source: str, line: int, key: str, there: object) -> bool:
        if not isinstance(name, str) or not name.strip():
            self._problem(source, line, key, "expected a name")
        elif name in CALLS:
            self._problem(source, line, key, f"{name} is a rule of ccproxy; choose another name")
        elif there is not None:
            self._problem(source, line, key, f"another one is called {name}, too")
        else:
            return True
        return False

    def _rule(self, name: Any, value: Any, source: str, line: int, key: str) -> None:
        if not self._named(name, source, line, key, self.rules.get(name)):
            return
        if fault := _function_fault(value, 1, "the facts"):
            self._problem(source, line, key, fault)
            return
        guard = Guard(name, "rule", source)
        self.guards.append(guard)
        self.rules[name] = _guarded(value, guard)

    def _hook(self, name: Any, value: Any, source: str, line: int, key: str) -> None:
        if not self._named(name, source, line, key, self.hooks.get(name)):
            return
        on_request = getattr(value, "on_request", None)
        on_response = getattr(value, "on_response", None)
        if on_request is None and on_response is None:
            self._problem(source, line, key, "expected an object with on_request or on_response")
            return
        for method, what in (
            (on_request, "the facts and the body"),
            (on_response, "the facts and the answer"),
        ):
            if method is not None and (fault := _function_fault(method, 2, what)):
                where = method.__code__.co_firstlineno if hasattr(method, "__code__") else line
                self._problem(source, where, key, fault)
                return
        guard = Guard(name, "hook", source)
        self.guards.append(guard)
        self.hooks[name] = Hook(guard, on_request, on_response)


def _function_fault(value: object, count: int, what: str) -> str:
    """Return why something cannot be called with ``count`` arguments; empty when it can."""
    if not callable(value):
        return f"expected a function, not {type(value).__name__}"
    if inspect.iscoroutinefunction(value) or inspect.isgeneratorfunction(value):
        return "expected a plain function: it is called, and never awaited"
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):
        return ""  # some built-in functions do not tell
    given = [
        p
        for p in signature.parameters.values()
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    takes_more = any(p.kind is p.VAR_POSITIONAL for p in signature.parameters.values())
    return "" if len(given) >= count or takes_more else f"expected a function that takes {what}"


def _guarded(function: Callable[..., Any], guard: Guard) -> CustomRule:
    def rule(facts: RequestFacts, *args: Any, **named: Any) -> bool:
        answer = guard.run(lambda: function(facts, *args, **named))
        if not isinstance(answer, bool):
            guard.failed(f"expected True or False, not {type(answer).__name__}")
            raise FactsMissing(f"rule {guard.name} failed: {guard.last}")
        return answer

    return rule


def _line_of(value: object, path: Path) -> int:
    """Return where a function, class or object of a file begins; 0 when that cannot be told."""
    code = getattr(value, "__code__", None)
    if code is None and not isinstance(value, type):
        methods = (getattr(value, name, None) for name in ("on_request", "on_response"))
        codes = (getattr(method, "__code__", None) for method in methods)
        code = next((found for found in codes if found is not None), None)
    if code is None or code.co_filename != str(path):
        return 0
    return int(code.co_firstlineno)


def _line_in(error: BaseException, file: str) -> int:
    frames = traceback.extract_tb(error.__traceback__)
    return next((frame.lineno or 0 for frame in reversed(frames) if frame.filename == file), 0)


def _place(error: BaseException, source: str) -> str:
    """Return file and line of a failure, best in the extension's own file."""
    if line := _line_in(error, source):
        return f"{source}:{line}"
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else source
