"""Where files live on each system, and how private files are written.

Places follow ``platformdirs``. ``DRAGOMAN_HOME`` puts all of them below one folder; tests and
portable installations use it. Where a system gives the same folder for settings and for data
(macOS, Windows), data, state and cache get subfolders: whoever watches the settings folder is then
not woken by every write of the database or the log.
"""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import platformdirs

__all__ = ["Paths", "asset", "private_dir", "write_private"]

_NAME = "dragoman"


@dataclass(frozen=True, slots=True)
class Paths:
    """The folders of one installation; none is created before it is needed."""

    config: Path
    """``config.yaml``."""
    data: Path
    """``dragoman.db``, ``vault/`` and the instance lock."""
    state: Path
    """Logs."""
    cache: Path
    """What can be fetched again: the model catalog."""
    runtime: Path
    """``instance.json``; emptied by the system at sign-out where it has such a folder."""

    @classmethod
    def find(cls, env: Mapping[str, str] | None = None) -> Paths:
        """Return the folders of this user.

        Args:
            env: environment variables; ``DRAGOMAN_HOME``, when set, holds all folders. The
                platform's own variables (``XDG_…``) are read from the process environment.
        """
        home = (os.environ if env is None else env).get("DRAGOMAN_HOME")
        if home:
            base = Path(home).expanduser().absolute()
            return cls(base / "config", base / "data", base / "state", base / "cache", base / "run")
        config = platformdirs.user_config_path(_NAME, appauthor=False)
        state = _apart(config, platformdirs.user_state_path(_NAME, appauthor=False), "state")
        return cls(
            config=config,
            data=_apart(config, platformdirs.user_data_path(_NAME, appauthor=False), "data"),
            state=state,
            cache=_apart(config, platformdirs.user_cache_path(_NAME, appauthor=False), "cache"),
            runtime=_runtime(state),
        )

    @property
    def config_file(self) -> Path:
        """The settings file that is used when nothing else is named."""
        return self.config / "config.yaml"

    @property
    def database_file(self) -> Path:
        """The embedded database."""
        return self.data / "dragoman.db"

    @property
    def vault(self) -> Path:
        """The folder of sealed credentials."""
        return self.data / "vault"

    @property
    def log_file(self) -> Path:
        """The current log; older ones are beside it with ``.1`` (newest) to ``.4``."""
        return self.state / "dragoman.log"


def _apart(config: Path, path: Path, name: str) -> Path:
    return path / name if path == config else path


def _runtime(state: Path) -> Path:
    """Return the session's runtime folder, or one below ``state`` where there is none that is ours.

    Only Linux has one that is private by definition (XDG base directories). ``platformdirs`` warns
    without it and answers with a guessable name in the shared temporary folder, which another user
    could have made first; so it is not asked.
    """
    if sys.platform != "linux":
        return state / "run"
    base = Path(os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}")
    try:
        found = base.stat()
    except OSError:
        return state / "run"
    private = found.st_uid == os.getuid() and not stat.S_IMODE(found.st_mode) & 0o077
    return base / _NAME if private else state / "run"


def asset(name: str) -> Path:
    """Return the path of a shipped file, ``name`` with forward slashes below ``assets/``.

    A frozen build and the wheel carry the folder as ``app/_assets``; a checkout has it at its top.

    Raises:
        FileNotFoundError: no such file is shipped.
        ValueError: ``name`` leads out of the folder.
    """
    package = Path(__file__).resolve().parent
    for root in (package / "_assets", package.parent / "assets"):
        path = (root / name).resolve()
        if not path.is_relative_to(root.resolve()):  # macOS bundles link their data folders
            raise ValueError(f"{name!r} is not below assets/")
        if path.exists():
            return path
    raise FileNotFoundError(f"assets/{name} is not shipped with this build")


def private_dir(path: Path) -> Path:
    """Create a folder, and missing parents, readable by this user only; return it.

    An existing folder keeps its mode: a user may have chosen it.
    """
    if not path.is_dir():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.mkdir(mode=0o700, exist_ok=True)
    return path


def write_private(path: Path, content: bytes) -> None:
    """Replace a file in one step with mode 0600; a reader sees the old content or the new.

    A symbolic link is followed, so that settings kept in another folder stay there.

    Raises:
        OSError: the folder cannot be written; the old file is then untouched.
    """
    path = path.resolve()
    private_dir(path.parent)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # 0600 by itself
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
