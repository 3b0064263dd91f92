"""Build what people install.

::

    python3 packaging/build.py deb       for Debian and Ubuntu, on Linux
    python3 packaging/build.py wheel     for pipx and uv, anywhere
    python3 packaging/build.py image     an OCI image for servers, on Linux with podman or buildah
    python3 packaging/build.py windows   the installer, on Windows with NSIS
    python3 packaging/build.py macos     the disk image, on macOS
    python3 packaging/build.py freeze    only the frozen program, for this system
    python3 packaging/build.py notes     the release notes of this version
    python3 packaging/build.py lock      resolves the build tools anew; needs uv

Each build says what it does and ends with one line: path, size and checksum of the result, which is
in ``dist/``. The tools of the build are installed into ``build/venv`` from hashed lock files, the
program's packages exactly those that are tested. Only the standard library is used here.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import contents
from builders import debian, frozen, image, macos, wheel, windows
from builders.work import HERE, ROOT, BuildError, finish, say, version

BUILDS: Mapping[str, Callable[[], Path]] = {
    "deb": debian.deb,
    "wheel": wheel.wheel,
    "image": image.image,
    "windows": windows.windows,
    "macos": macos.macos,
}


def _freeze() -> None:
    say(f"frozen into {frozen.freeze(frozen.tools()).relative_to(ROOT)}")


def usage() -> str:
    """Return the command lines from this file's own documentation."""
    block = (__doc__ or "").split("::\n\n", 1)[1].split("\n\n", 1)[0]
    return "usage:\n" + block


def main(arguments: Sequence[str]) -> int:
    """Run one build; returns 1 when it fails and 2 for a wrong command line."""
    match list(arguments):
        case ["-h" | "--help"]:
            print(usage())
            return 0
        case [name] if name in BUILDS:
            work: Callable[[], None] = lambda: finish(BUILDS[name]())  # noqa: E731
        case ["freeze"]:
            work = _freeze
        case ["notes"]:
            text = (HERE / "CHANGELOG.md").read_text("utf-8")
            print(contents.newest_notes(text, version()))
            return 0
        case ["lock"]:
            work = frozen.lock_tools
        case _:
            print(usage(), file=sys.stderr)
            return 2
    try:
        work()
    except BuildError as error:
        print(f"build: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
