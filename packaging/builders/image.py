"""The image for servers."""

from __future__ import annotations

import gzip
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from builders.wheel import wheel
from builders.work import (
    BUILD,
    DIST,
    HERE,
    ROOT,
    BuildError,
    architecture,
    commit,
    run,
    step,
    version,
)


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
