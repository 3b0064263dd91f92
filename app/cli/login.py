"""``dragoman login``: sign in to a service, or store a key for one."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from app.cli.agreement import ask_agreement
from app.cli.client import Client
from app.cli.imports import list_imports, take_imports
from app.cli.running import client_of, find_running, places
from app.cli.status import JsonOption
from app.cli.terminal import NotRunning, advice, note, say, show_json
from app.cli.typed import Typed, is_terminal
from app.errors import AppError

__all__ = ["login"]

_ANSWER_S = 130.0
"""A service may take a minute and a half to take a code."""
_LOOK_S = 1.0
_TRIES = 3


def login(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PROVIDER",
            show_default=False,
            help="claude, codex, copilot, gemini, openai …; with --import, what to take over.",
        ),
    ] = None,
    way: Annotated[
        str | None, typer.Option("--way", help="browser, device, token, cookie or key.")
    ] = None,
    label: Annotated[
        str | None, typer.Option("--label", help="A name for the account.  [default: claude-1]")
    ] = None,
    account: Annotated[
        str | None, typer.Option("--account", help="Sign in again to this account.")
    ] = None,
    host: Annotated[str, typer.Option("--host", help="Your own server, as company.ghe.com.")] = "",
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Show the link, open nothing.")
    ] = False,
    agree: Annotated[
        str,
        typer.Option("--agree", metavar="DATE", help="Agree to the provider's text of this date."),
    ] = "",
    memory_only: Annotated[
        bool,
        typer.Option("--memory-only", help="Keep it until Dragoman stops, where no keyring is."),
    ] = False,
    imports: Annotated[
        bool,
        typer.Option("--import", help="List the sign-ins of other programs, or take those named."),
    ] = False,
    folder: Annotated[
        Path | None,
        typer.Option("--from", metavar="FOLDER", help="With --import: a folder of CLIProxyAPI."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Sign in to a service. A key is typed without being shown, or piped in."""
    takes, names = imports or folder is not None, words or []
    if not takes and len(names) != 1:
        raise typer.BadParameter("Name one service, as in `dragoman login claude`.")
    record = find_running(places())
    if record is None:
        raise NotRunning
    client = client_of(record, timeout_s=_ANSWER_S)
    if takes:
        where = None if folder is None else folder.expanduser().absolute()
        if names:
            take_imports(client, names, where, label=label, agreed=agree, as_json=as_json)
        else:
            list_imports(client, where, as_json=as_json)
        return
    provider = names[0]
    wanted = {
        "way": way,
        "label": label,
        "account": account,
        "host": host,
        "consent": agree,
        "memory_only": memory_only,
    }
    signing = _SignIn(client, provider, quiet=as_json, browser=not no_browser)
    flow = signing.run(wanted)
    if as_json:
        show_json(flow)
        return
    who = ", ".join(text for text in (flow.get("name"), flow.get("plan")) if text)
    again = " again" if flow.get("repaired") else ""
    say(f"Signed in{again}: {flow['account']}" + (f" ({who})." if who else "."))


class _SignIn:
    """One sign-in over the control routes of the running instance."""

    def __init__(self, client: Client, provider: str, *, quiet: bool, browser: bool) -> None:
        self._client = client
        self._provider = provider
        self._base = f"/admin/accounts/{quote(provider, safe='')}/oauth"
        self._tell = note if quiet else say
        self._browser = browser

    def run(self, wanted: dict[str, Any]) -> dict[str, Any]:
        """Return the flow once it has succeeded.

        Raises:
            AppError: it did not.
        """
        flow = self._start(wanted)
        try:
            flow = self._type(flow) if flow["kind"] == "secret" else self._follow(flow)
            if flow["state"] == "other_identity":
                flow = self._ask_about(flow)
        except KeyboardInterrupt:
            self._complete(flow, cancel=True)
            raise AppError("The sign-in was cancelled.", code="cancelled") from None
        if flow["state"] != "done":
            raise AppError(
                flow.get("error") or "The sign-in did not succeed.",
                code=flow.get("code") or "sign_in_failed",
            )
        return flow

    def _start(self, wanted: dict[str, Any]) -> dict[str, Any]:
        try:
            return self._post("start", wanted)
        except AppError as error:
            if error.code != "consent_required":
                raise
        return self._post(
            "start", wanted | {"consent": ask_agreement(self._client, self._provider, self._tell)}
        )

    def _post(self, step: str, body: Mapping[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = self._client.post(f"{self._base}/{step}", body)
        return answer

    def _complete(self, flow: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
        return self._post("complete", {"flow": flow["flow"], **fields})

    # --- a secret --------------------------------------------------------------------------------

    def _type(self, flow: dict[str, Any]) -> dict[str, Any]:
        if not is_terminal(sys.stdin):
            return self._complete(flow, secret=sys.stdin.read().strip())
        for left in reversed(range(_TRIES)):
            note(f"{flow.get('prompt') or 'Key'} (nothing is shown while you type): ")
            with Typed() as typed:
                secret = typed.line()
            if secret is None:
                raise KeyboardInterrupt
            try:
                return self._complete(flow, secret=secret)
            except AppError as error:
                if error.status != 400 or not left:
                    self._complete(flow, cancel=True)
                    raise
                note(f"{error.message} {advice(error)}")
        return flow

    # --- a browser or a device code --------------------------------------------------------------

    def _follow(self, flow: dict[str, Any]) -> dict[str, Any]:
        if flow["state"] != "waiting":
            return flow
        self._show(flow)
        pastes = flow["kind"] == "browser"
        with Typed() as typed, _Countdown(flow) as countdown:
            look_s = 0.0
            while flow["state"] in ("waiting", "working"):
                countdown.show(flow, typed.length if pastes and typed.here else None)
                text = typed.wait(look_s)
                look_s = _LOOK_S
                if text is not None and pastes:
                    flow = self._paste(flow, text, countdown)
                else:
                    flow = self._client.get(f"/admin/accounts/flows/{flow['flow']}")
        return flow

    def _paste(self, flow: dict[str, Any], text: str, countdown: _Countdown) -> dict[str, Any]:
        try:
            return self._complete(flow, text=text)
        except AppError as error:
            if error.status not in (400, 409):
                raise
            countdown.say(f"{error.message} {advice(error)}")
            looked: dict[str, Any] = self._client.get(f"/admin/accounts/flows/{flow['flow']}")
            return looked

    def _show(self, flow: Mapping[str, Any]) -> None:
        if flow["kind"] == "device":
            self._tell(f"Open {flow['url']}\nand type this code: {flow['user_code']}\n")
        else:
            self._tell(f"Sign in on this page:\n\n{flow['url']}\n")
        if flow.get("notice"):
            self._tell(f"{flow['notice']}\n")
        if self._browser and _has_screen(os.environ) and not _open(flow["url"]):
            self._tell("No browser could be opened; copy the link into one.\n")

    def _ask_about(self, flow: dict[str, Any]) -> dict[str, Any]:
        """Ask about a sign-in that is of another person than the account."""
        note(flow["error"])
        if is_terminal(sys.stdin) and typer.confirm("Go on?", default=False, err=True):
            return self._complete(flow, confirm=True)
        ended = self._complete(flow, cancel=True)
        return ended | {"error": flow["error"], "code": "other_identity"}


def _has_screen(environment: Mapping[str, str]) -> bool:
    """Say whether a browser would show where the user sits: over SSH it would not."""
    if "SSH_CONNECTION" in environment or "SSH_TTY" in environment:
        return False
    if sys.platform in ("win32", "darwin"):
        return True
    return bool(environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY"))


def _open(url: str) -> bool:
    import webbrowser

    try:
        return webbrowser.open(url)
    except webbrowser.Error:
        return False


class _Countdown:
    """One line that says what is waited for, and how long; only where somebody looks at it."""

    def __init__(self, flow: Mapping[str, Any]) -> None:
        self._end = time.monotonic() + flow["expires_in"]
        self._live: Any = None
        if is_terminal(sys.stderr):
            from rich.console import Console
            from rich.live import Live

            console = Console(stderr=True, markup=False, highlight=False, emoji=False)
            self._live = Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> _Countdown:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, flow: Mapping[str, Any], typed: int | None) -> None:
        """Show how things are; ``typed`` characters of a code, None where none is wanted."""
        if self._live is not None:
            self._live.update(render_wait(flow, self._end - time.monotonic(), typed), refresh=True)

    def say(self, text: str) -> None:
        """Print a line above."""
        if self._live is not None:
            self._live.console.print(text, soft_wrap=True)
        else:
            note(text)


def render_wait(flow: Mapping[str, Any], left_s: float, typed: int | None) -> str:
    """Return the line of the countdown.

    Args:
        flow: as the instance answers it.
        left_s: seconds until it ends.
        typed: characters of a pasted code so far; None where none can be pasted.
    """
    minutes, seconds = divmod(max(0, round(left_s)), 60)
    if flow["state"] == "working":
        return "Finishing the sign-in …"
    line = f"Waiting for you, {minutes}:{seconds:02} left."
    if typed:
        return f"{line} Code: {typed} characters, Enter sends them."
    if typed is not None:
        return f"{line} You can paste a code or an address here."
    return line
