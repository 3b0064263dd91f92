"""Trying an installed agent: one harmless question, and what came of it.

The agent runs in an empty home of its own, which is connected here exactly as ``connect`` would
connect the user's, and in an empty working folder; both are removed afterwards. So nothing of the
user's can be changed, and what is found is about the agent, our way of connecting it, and the model.
That the user's own settings still hold what ``connect`` wrote is a question of its own, which
``Connections.state`` answers.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from app.clients.agent import Address, Agent, Machine, Models
from app.clients.connections import Connections
from app.errors import AppError, RequestError
from app.log import scrub

__all__ = [
    "DEMO_MODEL",
    "LIMIT_S",
    "PROMPT",
    "Finding",
    "Ran",
    "Request",
    "Requests",
    "demo_models",
    "judge",
    "run_trial",
    "trial_environment",
    "try_agent",
]

PROMPT: Final = "Reply with the word: ready"
DEMO_MODEL: Final = "demo-chat"
LIMIT_S: Final = 120.0
"""An agent that starts cold and a model that thinks take less."""

_KEPT: Final = frozenset(
    {
        *("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TERM", "TMPDIR", "TEMP", "TMP"),
        *("SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "COMSPEC", "PATHEXT", "PROGRAMFILES"),
        *("NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "SSL_CERT_DIR"),
        *("NVM_DIR", "VOLTA_HOME", "FNM_DIR", "ASDF_DATA_DIR", "ASDF_DIR", "MISE_DATA_DIR"),
        *("PYENV_ROOT", "BUN_INSTALL"),
    }
)
"""Variables that an agent's program needs to start; those that are settings of it stay away."""
_SHIMS: Final = {"VOLTA_HOME": ".volta", "ASDF_DATA_DIR": ".asdf", "PYENV_ROOT": ".pyenv"}
"""Switchers of versions that look below home where their variable is not set."""
_STEP_S: Final = 0.1
_WRITTEN_S: Final = 0.75
"""The ledger writes half a second after a request's end."""
_SETTLE_S: Final = 3.0
"""After this nothing comes any more."""
_MOST_TEXT: Final = 20_000
_SHOWN: Final = 300
_ESCAPES: Final = re.compile(
    r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])"
)


@dataclass(frozen=True, slots=True)
class Ran:
    """How a run ended."""

    code: int | None
    """Exit code; None when it was ended at its limit."""
    seconds: float
    out: str
    err: str
    started_at: float = 0.0
    """Epoch seconds."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request that Dragoman served, as its ledger has it."""

    status: int
    dialect: str = ""
    error: str = ""
    """Code of the failure; empty for success."""


Requests: TypeAlias = Callable[[float], Sequence[Mapping[str, Any]] | None]
"""Returns the ledger's rows (``at``, ``asked``, ``status``, ``dialect``, ``error``) since a moment
in epoch seconds, or None where it cannot be asked."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of one question."""

    model: str
    """Empty for the agent's own choice."""
    verdict: Literal["ok", "failed"]
    text: str
    hint: str = ""
    seconds: float = 0.0
    answer: str = ""
    """The end of what the agent printed."""
    requests: tuple[Request, ...] | None = None
    """What of it reached Dragoman; None where that is not known."""


def demo_models(agent: Agent, models: Models) -> Models:
    """Return a choice that sends every role of an agent to the demo."""
    return Models(dict.fromkeys(agent.roles, DEMO_MODEL), models.offered)


def trial_environment(agent: Agent, env: Mapping[str, str], home: Path) -> dict[str, str]:
    """Return what an agent's process is given: nothing that points to the user's own settings."""
    kept = {name: value for name, value in env.items() if name.upper() in _KEPT}
    users = env.get("USERPROFILE" if sys.platform == "win32" else "HOME")
    for name, folder in _SHIMS.items():
        if name not in kept and users and (Path(users) / folder).is_dir():
            kept[name] = str(Path(users) / folder)
    place = str(home)
    homes = {"HOME": place, "USERPROFILE": place, "APPDATA": place, "LOCALAPPDATA": place}
    # a proxy for the outside must not see calls on loopback
    direct = {"NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"}
    quiet = {} if agent.trial is None else agent.trial.environment
    return {**kept, **homes, **direct, "NO_COLOR": "1", **quiet}


def run_trial(
    agent: Agent,
    program: Path,
    machine: Machine,
    address: Address,
    models: Models,
    *,
    prompt: str = PROMPT,
    limit_s: float = LIMIT_S,
    stop: threading.Event | None = None,
) -> Ran:
    """Ask an agent one thing in an empty home; blocks until it has ended.

    Args:
        agent: what is known about it.
        program: its program.
        machine: this one; its home is not touched.
        address: where it is to go.
        models: what it is to ask for.
        prompt: the question.
        limit_s: after this it is ended, with all that it started.
        stop: ends it at once when set.

    Raises:
        RequestError: ``not_testable``: it cannot be asked without a person; or the choice of
            models does not fit it.
        AppError: ``trial_failed``: it cannot be started.
    """
    trial = agent.trial
    if trial is None:
        raise RequestError(
            f"{agent.title} cannot be asked by a program.",
            code="not_testable",
            hint="Ask it something by hand; `dragoman usage` then shows whether it came here.",
        )
    agent.check(models)
    with tempfile.TemporaryDirectory(prefix="dragoman-test-", ignore_cleanup_errors=True) as name:
        folder = Path(name).resolve()
        home = folder / "home"
        work = home / "work"
        work.mkdir(parents=True)
        env = trial_environment(agent, machine.env, home)
        there = replace(machine, home=home, env=env, data=folder / "data")
        known = Connections(there)
        known.apply(known.propose(agent.name, address, models))
        targets = agent.targets(there, address, models)
        if all(target.path.is_relative_to(there.data) for target in targets):
            env |= agent.environment(address, models)  # it reads no file: shells set them
        command = [str(program), *trial.arguments(prompt)]
        return _run(command, env, work, folder, limit_s, stop or threading.Event())


def _run(
    command: Sequence[str],
    env: Mapping[str, str],
    work: Path,
    folder: Path,
    limit_s: float,
    stop: threading.Event,
) -> Ran:
    # Files, not pipes: what an agent leaves running must not hold this up.
    with (folder / "out").open("w+b") as out, (folder / "err").open("w+b") as err:
        started, begun = time.time(), time.monotonic()
        try:
            process = subprocess.Popen(  # noqa: S603 - a program that the user installed
                list(command),
                cwd=work,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                **_apart(),
            )
        except OSError as error:
            raise AppError(
                f"{command[0]} cannot be started: {error.strerror or error}.",
                code="trial_failed",
                status=502,
            ) from error
        try:
            code = _wait(process, begun + limit_s, stop)
        finally:
            _end(process)
        return Ran(code, time.monotonic() - begun, _text(out), _text(err), started)


def _apart() -> dict[str, Any]:
    """Return the arguments that make a process and its children one group."""
    if sys.platform == "win32":
        flags = subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP
        return {"creationflags": flags}
    return {"start_new_session": True}


def _wait(process: subprocess.Popen[bytes], until: float, stop: threading.Event) -> int | None:
    while not stop.is_set() and time.monotonic() < until:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(_STEP_S)
    return process.poll()


def _end(process: subprocess.Popen[bytes]) -> None:
    """End an agent with all that it started; what has ended by itself is no failure."""
    if sys.platform == "win32":
        root = os.environ.get("SYSTEMROOT", r"C:\Windows")
        if process.poll() is None:
            subprocess.run(  # noqa: S603 - the system's own program
                [rf"{root}\System32\taskkill.exe", "/T", "/F", "/PID", str(process.pid)],
                capture_output=True,
                check=False,
            )
    else:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _text(file: Any) -> str:
    """Return the end of what was printed, as people read it: without colours and secrets."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _MOST_TEXT))
    text = file.read().decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")
    return scrub(_ESCAPES.sub("", text)).strip()


def judge(
    agent: Agent, model: str, ran: Ran, requests: Sequence[Request] | None, limit_s: float = LIMIT_S
) -> Finding:
    """Say what a run means.

    Args:
        agent: what ran.
        model: what it was to ask for.
        ran: how it ended.
        requests: what of it reached Dragoman; None where that is not known.
        limit_s: how long it could take.
    """
    served = None if requests is None else tuple(requests)
    came = _describe(served)
    took = f"{ran.seconds:.1f} s"
    said = _short(ran.out)
    last = _short(ran.err) or said
    verdict: Literal["ok", "failed"] = "failed"
    hint = ""
    if ran.code is None:
        text = f"did not end within {limit_s:g} s and was ended. {came}"
        hint = f"Start {agent.title} by hand: it may wait for something to be agreed to."
    elif served is not None and not served:
        text = f"sent nothing to Dragoman (exit code {ran.code} after {took})."
        hint = (
            "Something that goes before its settings sends it elsewhere: settings of a company, or "
            "a program in its place that sets them."
        )
    elif ran.code != 0:
        text = f"failed with exit code {ran.code} after {took}. {came}"
        hint = "`dragoman status` shows whether an account can answer."
    elif served is not None and all(request.error for request in served):
        text = f"ended after {took}, but no request of it was answered. {came}"
        hint = "`dragoman status` shows whether an account can answer."
    elif not said:
        text = f"ended after {took} and printed nothing. {came}"
    else:
        verdict = "ok"
        text = f"answered after {took}: {said} {came}"
    if verdict == "failed" and last:
        text += f" It said: {last}"
    return Finding(model, verdict, text, hint, round(ran.seconds, 3), said, served)


def _describe(requests: Sequence[Request] | None) -> str:
    if requests is None:
        return "What reached Dragoman is not known: the ledger is not kept now."
    if not requests:
        return "Nothing of it reached Dragoman."
    statuses = ", ".join(f"{r.status} {r.error}".strip() for r in requests[:6])
    more = ", …" if len(requests) > 6 else ""
    noun = "request" if len(requests) == 1 else "requests"
    dialects = ", ".join(dict.fromkeys(r.dialect for r in requests if r.dialect))
    way = f" in {dialects}" if dialects else ""
    return f"Dragoman saw {len(requests)} {noun}{way} ({statuses}{more})."


def _short(text: str) -> str:
    """Return the end of a text as one line."""
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else f"…{line[-_SHOWN:].lstrip()}"


def try_agent(
    agent: Agent,
    program: Path,
    machine: Machine,
    address: Address,
    models: Models,
    requests: Requests,
    *,
    prompt: str = PROMPT,
    limit_s: float = LIMIT_S,
    stop: threading.Event | None = None,
    wait: Callable[[float], object] = time.sleep,
) -> Finding:
    """Run a trial, look at what reached Dragoman, and judge; blocks.

    Args:
        agent: as for ``run_trial``, and so are the arguments that are not named here.
        program: its program.
        machine: this one.
        address: where it is to go.
        models: what it is to ask for; the main role's model is what the finding is about.
        requests: asks the ledger.
        prompt: the question.
        limit_s: how long it may take.
        stop: ends it at once when set.
        wait: sleeps for seconds.

    Raises:
        AppError: as ``run_trial``.
    """
    ran = run_trial(
        agent, program, machine, address, models, prompt=prompt, limit_s=limit_s, stop=stop
    )
    wanted = set(models.roles.values())
    return judge(agent, models.get("main") or "", ran, _seen(requests, ran, wanted, wait), limit_s)


def _seen(
    requests: Requests, ran: Ran, wanted: set[str], wait: Callable[[float], object]
) -> list[Request] | None:
    """Return what the ledger has of a run, once it has had the time to write it."""
    waited = 0.0
    while True:
        rows = requests(ran.started_at)
        if rows is None:
            return None
        found = [
            Request(int(row["status"]), str(row["dialect"]), str(row["error"]))
            for row in sorted(rows, key=lambda row: float(row["at"]))
            if not wanted or row["asked"] in wanted
        ]
        if waited >= (_WRITTEN_S if found else _SETTLE_S):
            return found
        wait(0.25)
        waited += 0.25
