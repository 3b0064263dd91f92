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

import contextlib
import datetime
import email.utils
import gzip
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import textwrap
import time
import venv
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import bootstrap
import contents

ROOT = contents.ROOT
HERE = ROOT / "packaging"
BUILD = ROOT / "build"
DIST = ROOT / "dist"
FROZEN = BUILD / "frozen" / "dragoman"
TOOLS_LOCK = HERE / "requirements-build.lock"
TOOLS = ("pyinstaller>=6.11", "hatchling>=1.27")

MOST_DEB_BYTES = 40_000_000
"""Decided in the issue: a package that people fetch over a slow line."""


class BuildError(Exception):
    """A build cannot go on; the text says why and what to do."""


def say(text: str) -> None:
    """Tell the person who waits."""
    print(f"build: {text}", flush=True)


@contextlib.contextmanager
def step(what: str) -> Iterator[None]:
    """Say what is done now, and afterwards how long it took."""
    say(f"{what} ...")
    started = time.monotonic()
    yield
    say(f"{what}: {time.monotonic() - started:.0f} s")


def run(command: Sequence[str | Path], **options: object) -> None:
    """Run a program whose output people see.

    Raises:
        BuildError: it is not installed, or failed.
    """
    words = [str(word) for word in command]
    try:
        subprocess.run(words, check=True, **options)  # type: ignore[call-overload]
    except FileNotFoundError as error:
        raise BuildError(f"{words[0]} is not installed.") from error
    except subprocess.CalledProcessError as error:
        raise BuildError(f"{Path(words[0]).name} ended with {error.returncode}.") from error


def version() -> str:
    """Return the version of this checkout."""
    return contents.version_of((ROOT / "app" / "__init__.py").read_text("utf-8"))


def commit() -> str:
    """Return the commit of this checkout; empty where nothing tells."""
    try:
        found = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=ROOT, check=True, capture_output=True, text=True
        )
    except (OSError, subprocess.CalledProcessError):
        return os.environ.get("GITHUB_SHA", "")
    return found.stdout.strip()


def sha256(path: Path) -> str:
    """Return the checksum of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def finish(path: Path) -> None:
    """Say what was built, and write its checksum beside it."""
    digest = sha256(path)
    sums = path.with_name(f"{path.name}.sha256")
    sums.write_text(contents.checksum_lines([(path.name, digest)]), "ascii", newline="\n")
    shown = path.relative_to(ROOT).as_posix()
    print(contents.result_line(shown, path.stat().st_size, digest), flush=True)


# The environment of the build


def tools() -> Path:
    """Return the Python that has the program's packages and the build's tools; make it if need be."""
    locks = [HERE / "requirements.lock", TOOLS_LOCK]
    wanted = bootstrap.stamp(
        tuple(sys.version_info),
        platform.machine(),
        {lock.name: lock.read_bytes() for lock in locks},
    )
    environment = BUILD / "venv"
    python = bootstrap.venv_python(environment)
    stamp = environment / ".dragoman"
    if python.exists() and stamp.exists() and stamp.read_text("utf-8") == wanted:
        return python
    with step("installing the build's tools"):
        shutil.rmtree(environment, ignore_errors=True)
        uv = shutil.which("uv")
        venv.create(environment, symlinks=os.name != "nt", with_pip=uv is None)
        for lock in locks:
            _, command = bootstrap.install_commands(python, lock, uv)[0]
            run(command)
    stamp.write_text(wanted, "utf-8")
    return python


def stage_assets() -> Path:
    """Copy the assets and add which commit they are of; returns the folder."""
    staged = BUILD / "stage" / "assets"
    shutil.rmtree(staged, ignore_errors=True)
    shutil.copytree(ROOT / "assets", staged)
    (staged / "commit.txt").write_text(f"{commit()}\n", "ascii", newline="\n")
    return staged


def draw_icons(python: Path) -> Path:
    """Draw the program's icon in every form; returns the folder."""
    run([python, HERE / "icons.py", BUILD / "icons"], env=_with_checkout())
    return BUILD / "icons"


def _with_checkout() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}


def freeze(python: Path) -> Path:
    """Freeze the program; returns its folder (on macOS the bundle).

    Raises:
        BuildError: the result has a library in it that must be the system's.
    """
    icons = draw_icons(python)
    icon = {"win32": icons / "dragoman.ico", "darwin": icons / "dragoman.icns"}.get(sys.platform)
    with step("freezing the program"):
        folders = ["--distpath", BUILD / "frozen", "--workpath", BUILD / "work"]
        command = [python, "-m", "PyInstaller", "--noconfirm", "--log-level", "WARN", *folders]
        run([*command, HERE / "dragoman.spec", "--", stage_assets(), *([icon] if icon else [])])
    if found := contents.unwanted(contents.files_below(FROZEN)):
        raise BuildError(f"libraries of the system were taken along: {', '.join(found)}")
    return BUILD / "frozen" / "Dragoman.app" if sys.platform == "darwin" else FROZEN


# Debian


def fill(text: str, values: Mapping[str, str]) -> str:
    """Replace each ``@NAME@`` of a template.

    Raises:
        BuildError: one has no value.
    """
    filled = re.sub(r"@([A-Z_]+)@", lambda found: values.get(found[1], found[0]), text)
    if left := re.search(r"@[A-Z_]+@", filled):
        raise BuildError(f"{left[0]} has no value")
    return filled


def copyright_text(licence: str) -> str:
    """Return Debian's machine-readable copyright file."""
    body = "\n".join(f" {line}" if line.strip() else " ." for line in licence.strip().splitlines())
    holder = next(line for line in licence.splitlines() if line.startswith("Copyright"))
    return (
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n"
        "Upstream-Name: dragoman\n"
        "Comment: The folder /usr/lib/dragoman/_internal also holds Python and the packages that\n"
        " pyproject.toml names, each under its own licence, which is in its metadata.\n\n"
        f"Files: *\n{holder.replace('Copyright (c)', 'Copyright:')}\nLicense: Expat\n{body}\n"
    )


def debian_changelog(notes: str) -> str:
    """Return the notes of this version in the form that Debian's tools read.

    Args:
        notes: all release notes.
    """
    control = (HERE / "linux" / "control").read_text("utf-8")
    maintainer = next(
        line.removeprefix("Maintainer: ")
        for line in control.splitlines()
        if line.startswith("Maintainer: ")
    )
    listed = contents.newest_notes(notes, version()).partition("\n### ")[0]
    said = re.split(r"^- ", listed, flags=re.MULTILINE)
    body = "".join(
        textwrap.fill(" ".join(one.split()), 78, initial_indent="  * ", subsequent_indent="    ")
        + "\n"
        for one in said
        if one.strip()
    )
    when = email.utils.format_datetime(datetime.datetime.fromtimestamp(built_at(), datetime.UTC))
    head = f"dragoman ({debian_version(version())}) unstable; urgency=medium"
    return f"{head}\n\n{body}\n -- {maintainer}  {when}\n"


def built_at() -> int:
    """Return the time of the build in epoch seconds: of the commit, so that it can be repeated."""
    if stated := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(stated)
    command = ["git", "show", "--no-patch", "--format=%ct", "HEAD"]
    try:
        found = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return int(time.time())
    return int(found.stdout)


def debian_version(text: str) -> str:
    """Return a version as Debian sorts it: a pre-release comes before its release."""
    return re.sub(r"\.?(a|b|rc|dev)(\d+)$", r"~\1\2", text)


def architecture() -> str:
    """Return what Debian calls this machine."""
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


def _put(tree: Path, name: str, content: bytes, mode: int = 0o644) -> None:
    path = tree / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)


def _zipped(text: bytes) -> bytes:
    return gzip.compress(text, 9, mtime=0)


def lay_out(tree: Path, frozen: Path, pages: Path, icons: Path, licence: str, notes: str) -> None:
    """Lay out what the Debian package installs.

    Args:
        tree: the folder that stands for the root.
        frozen: the frozen program.
        pages: manual page and completions, from ``pages.py``.
        icons: from ``icons.py``.
        licence: its text.
        notes: the release notes.
    """
    linux = HERE / "linux"
    shutil.copytree(frozen, tree / "usr/lib/dragoman", symlinks=True)
    (tree / "usr/bin").mkdir(parents=True)
    (tree / "usr/bin/dragoman").symlink_to("../lib/dragoman/dragoman")
    share = "usr/share"
    desktop = (linux / "dragoman.desktop").read_bytes()
    _put(tree, f"{share}/applications/dragoman.desktop", desktop)
    _put(tree, "usr/lib/systemd/user/dragoman.service", (linux / "dragoman.service").read_bytes())
    for picture in sorted(icons.glob("dragoman-*.png")):
        side = picture.stem.rpartition("-")[2]
        _put(tree, f"{share}/icons/hicolor/{side}x{side}/apps/dragoman.png", picture.read_bytes())
    drawing = (icons / "dragoman.svg").read_bytes()
    _put(tree, f"{share}/icons/hicolor/scalable/apps/dragoman.svg", drawing)
    manual = (pages / "dragoman.1").read_bytes()
    _put(tree, f"{share}/man/man1/dragoman.1.gz", _zipped(manual))
    for name, place in (
        ("dragoman.bash", "bash-completion/completions/dragoman"),
        ("_dragoman", "zsh/vendor-completions/_dragoman"),
        ("dragoman.fish", "fish/vendor_completions.d/dragoman.fish"),
    ):
        _put(tree, f"{share}/{place}", (pages / name).read_bytes())
    _put(tree, f"{share}/doc/dragoman/copyright", copyright_text(licence).encode())
    _put(tree, f"{share}/doc/dragoman/changelog.gz", _zipped(debian_changelog(notes).encode()))
    _put(tree, f"{share}/doc/dragoman/NEWS.md.gz", _zipped(notes.encode()))
    overrides = (linux / "lintian-overrides").read_bytes()
    _put(tree, f"{share}/lintian/overrides/dragoman", overrides)
    _settle_modes(tree)


def _settle_modes(tree: Path) -> None:
    """Make modes those of a package, whatever this user's umask is."""
    for path in tree.rglob("*"):
        if path.is_symlink():
            continue
        runs = path.is_dir() or path == tree / "usr/lib/dragoman/dragoman"
        path.chmod(0o755 if runs else 0o644)


def write_control(tree: Path) -> None:
    """Write what dpkg reads: description, maintainer scripts and checksums."""
    linux = HERE / "linux"
    files = [name for name in contents.files_below(tree) if not (tree / name).is_symlink()]
    programs = [
        tree / name for name in files if name.endswith("/dragoman/dragoman") or ".so" in name
    ]
    size = sum((tree / name).stat().st_size for name in files)
    values = {
        "VERSION": debian_version(version()),
        "ARCHITECTURE": architecture(),
        "INSTALLED_KB": str(-(-size // 1024)),
        "LIBC": contents.newest_libc(path.read_bytes() for path in programs),
        "COMMON": (linux / "common.sh").read_text("utf-8").strip(),
        "WINDOW_FOLDER": contents.WINDOW_FOLDER,
    }
    sums = "".join(
        f"{hashlib.md5((tree / name).read_bytes(), usedforsecurity=False).hexdigest()}  {name}\n"
        for name in files
    )
    _put(tree, "DEBIAN/control", fill((linux / "control").read_text("utf-8"), values).encode())
    _put(tree, "DEBIAN/md5sums", sums.encode())
    for script in ("postinst", "prerm", "postrm"):
        text = fill((linux / script).read_text("utf-8"), values)
        _put(tree, f"DEBIAN/{script}", text.encode(), 0o755)
    (tree / "DEBIAN").chmod(0o755)


def deb() -> Path:
    """Build the Debian package.

    Raises:
        BuildError: this is no Linux, or the package got too large.
    """
    if not sys.platform.startswith("linux"):
        raise BuildError("a Debian package is built on Linux.")
    python = tools()
    frozen = freeze(python)
    tree = BUILD / "deb"
    with step("laying out the package"):
        run([python, HERE / "pages.py", BUILD / "pages"], env=_with_checkout())
        shutil.rmtree(tree, ignore_errors=True)
        tree.mkdir(parents=True)
        tree.chmod(0o755)
        licence = (HERE / "LICENSE").read_text("utf-8")
        notes = (HERE / "CHANGELOG.md").read_text("utf-8")
        lay_out(tree, frozen, BUILD / "pages", BUILD / "icons", licence, notes)
        write_control(tree)
    result = DIST / f"dragoman_{debian_version(version())}_{architecture()}.deb"
    with step("packing"):
        DIST.mkdir(exist_ok=True)
        unfinished = result.with_suffix(".unfinished")
        run(["dpkg-deb", "--root-owner-group", "-Zxz", "-z6", "--build", tree, unfinished])
        unfinished.replace(result)
    if result.stat().st_size > MOST_DEB_BYTES:
        size = contents.size_words(result.stat().st_size)
        raise BuildError(f"{result.name} has {size}; at most 40 MB were decided.")
    return result


# Wheel and image


def wheel() -> Path:
    """Build the wheel, from a copy that knows its commit."""
    python = tools()
    source = BUILD / "stage" / "wheel"
    with step("building the wheel"):
        shutil.rmtree(source, ignore_errors=True)
        source.mkdir(parents=True)
        skip = shutil.ignore_patterns("__pycache__", "*.pyc")
        shutil.copytree(ROOT / "app", source / "app", ignore=skip)
        shutil.copytree(stage_assets(), source / "assets")
        (source / "packaging").mkdir()
        shutil.copy(HERE / "LICENSE", source / "packaging" / "LICENSE")
        for name in ("pyproject.toml", "README.md"):
            shutil.copy(ROOT / name, source / name)
        DIST.mkdir(exist_ok=True)
        run([python, "-m", "hatchling", "build", "-t", "wheel", "-d", DIST], cwd=source)
    return DIST / f"dragoman-{version()}-py3-none-any.whl"


def find_engine(which: Callable[[str], str | None] = shutil.which) -> list[str]:
    """Return what builds images here.

    Raises:
        BuildError: nothing does.
    """
    # The OCI form of an image has no health check, and these two would leave it out.
    docker_form = ["build", "--format", "docker"]
    for name, words in (("podman", docker_form), ("buildah", docker_form), ("docker", ["build"])):
        if which(name):
            return [name, *words]
    raise BuildError("an image needs podman, buildah or docker.")


def image() -> Path:
    """Build the image for servers, and save it as an archive.

    ``DRAGOMAN_IMAGE_BASE`` names another image to build on: one with ``python`` and its ``venv``.
    """
    engine = find_engine()
    base = os.environ.get("DRAGOMAN_IMAGE_BASE")
    built = wheel()
    name = f"dragoman:{version()}"
    result = DIST / f"dragoman-{version()}-image-{architecture()}.tar.gz"
    with step("building the image"):
        run(
            [
                *engine,
                *("--file", HERE / "Containerfile", "--tag", name),
                *("--build-arg", f"WHEEL={built.relative_to(ROOT).as_posix()}"),
                *("--build-arg", f"VERSION={version()}", "--build-arg", f"REVISION={commit()}"),
                *(["--build-arg", f"PYTHON={base}"] if base else []),
                ROOT,
            ]
        )
    archive = BUILD / "image.tar"
    with step("saving it"):
        archive.unlink(missing_ok=True)
        if engine[0] == "buildah":
            run(["buildah", "push", name, f"docker-archive:{archive}:{name}"])
        else:
            run([engine[0], "save", "--output", archive, name])
    with step("compressing it"):
        with archive.open("rb") as source, gzip.GzipFile(result, "wb", 6, mtime=0) as target:
            shutil.copyfileobj(source, target, 1 << 20)
        archive.unlink()
    return result


# Windows and macOS


def windows() -> Path:
    """Build the installer for Windows."""
    if sys.platform != "win32":
        raise BuildError("the installer's payload is frozen on Windows; see release.yml.")
    frozen = freeze(tools())
    sign = os.environ.get("DRAGOMAN_SIGNTOOL", "")
    if sign:
        with step("signing the programs"):
            for name in ("dragoman.exe", "DragomanTray.exe"):
                run([*sign.split(), frozen / name])
    result = DIST / f"Dragoman-{version()}-setup-{architecture()}.exe"
    with step("packing the installer"):
        DIST.mkdir(exist_ok=True)
        run(installer_command(frozen, BUILD / "icons" / "dragoman.ico", result))
    if sign:
        run([*sign.split(), result])
    return result


def installer_command(payload: Path, icon: Path, result: Path) -> list[str]:
    """Return how NSIS is called; it runs on Linux, too."""
    found = shutil.which("makensis") or r"C:\Program Files (x86)\NSIS\makensis.exe"
    size = sum(path.stat().st_size for path in payload.rglob("*") if path.is_file())
    values = {
        "VERSION": version(),
        "NUMBERS": numbers(version()),
        "PAYLOAD": str(payload),
        "ICON": str(icon),
        "LICENCE": str(HERE / "LICENSE"),
        "RESULT": str(result),
        "SIZE_KB": str(-(-size // 1024)),
    }
    defines = [f"-D{name}={value}" for name, value in values.items()]
    return [
        found,
        "-V2",
        "-WX",
        "-INPUTCHARSET",
        "UTF8",
        *defines,
        str(HERE / "windows/dragoman.nsi"),
    ]


def numbers(text: str) -> str:
    """Return a version as the four numbers that Windows wants."""
    found = re.match(r"(\d+)\.(\d+)\.(\d+)", text)
    return ".".join((*(found.groups() if found else ("0", "0", "0")), "0"))


def macos() -> Path:
    """Build the disk image for macOS; signed and notarised where the secrets are there.

    ``DRAGOMAN_SIGN_IDENTITY`` names the certificate (without it the signature is ad hoc, which
    Apple's processors need in any case), ``DRAGOMAN_NOTARY_PROFILE`` what ``xcrun notarytool
    store-credentials`` has stored.
    """
    if sys.platform != "darwin":
        raise BuildError("the bundle is frozen and signed on macOS; see release.yml.")
    bundle = freeze(tools())
    identity = os.environ.get("DRAGOMAN_SIGN_IDENTITY", "")
    profile = os.environ.get("DRAGOMAN_NOTARY_PROFILE", "")
    with step("signing" if identity else "signing ad hoc: no identity is set"):
        run(sign_command(bundle, identity))
        run(["codesign", "--verify", "--deep", "--strict", bundle])
    result = DIST / f"Dragoman-{version()}-{architecture()}.dmg"
    with step("making the disk image"):
        folder = BUILD / "dmg"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        run(["ditto", bundle, folder / "Dragoman.app"])
        (folder / "Applications").symlink_to("/Applications")
        DIST.mkdir(exist_ok=True)
        made = ["hdiutil", "create", "-volname", "Dragoman", "-srcfolder", folder]
        run([*made, "-ov", "-format", "UDZO", result])
    if identity:
        run(["codesign", "--sign", identity, "--timestamp", result])
    if identity and profile:
        with step("notarising"):
            submit = ["xcrun", "notarytool", "submit", result, "--keychain-profile", profile]
            run([*submit, "--wait"])
            run(["xcrun", "stapler", "staple", result])
    return result


def sign_command(bundle: Path, identity: str) -> list[str]:
    """Return how a bundle is signed: with the hardened runtime, ad hoc without an identity."""
    entitlements = HERE / "macos" / "entitlements.plist"
    command = ["codesign", "--force", "--deep", "--options", "runtime"]
    command += ["--entitlements", str(entitlements), "--sign", identity or "-"]
    return [*command, *(["--timestamp"] if identity else []), str(bundle)]


# The command line


def _lock() -> None:
    uv = shutil.which("uv")
    if uv is None:
        raise BuildError("lock needs uv: https://docs.astral.sh/uv/getting-started/installation/")
    fixed = ["--no-config", "--default-index", bootstrap.INDEX, "--universal", "--generate-hashes"]
    fixed += ["--python-version", ".".join(map(str, bootstrap.OLDEST)), "--no-header", "--quiet"]
    source = BUILD / "tools.in"
    BUILD.mkdir(exist_ok=True)
    source.write_text("".join(f"{name}\n" for name in TOOLS), "utf-8")
    locked = ["-c", HERE / "requirements.lock", source, "-o", TOOLS_LOCK]
    run([uv, "pip", "compile", *fixed, "--no-annotate", *locked])
    note = "# Written by: python3 packaging/build.py lock\n"
    TOOLS_LOCK.write_bytes((note + TOOLS_LOCK.read_text("utf-8")).encode())


BUILDS: Mapping[str, Callable[[], Path]] = {
    "deb": deb,
    "wheel": wheel,
    "image": image,
    "windows": windows,
    "macos": macos,
}


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
            work = lambda: say(f"frozen into {freeze(tools()).relative_to(ROOT)}")  # noqa: E731
        case ["notes"]:
            text = (HERE / "CHANGELOG.md").read_text("utf-8")
            print(contents.newest_notes(text, version()))
            return 0
        case ["lock"]:
            work = _lock
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
