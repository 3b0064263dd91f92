"""The disk image for macOS."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from builders.frozen import freeze, tools
from builders.work import BUILD, DIST, HERE, BuildError, architecture, run, step, version


def macos() -> Path:
    """Build the disk image for macOS; signed and notarised where the secrets are there.

    ``DRAGOMAN_SIGN_IDENTITY`` names the certificate (without it the signature is ad hoc, which
    Apple's processors need in any case), ``DRAGOMAN_NOTARY_PROFILE`` what ``xcrun notarytool
    store-credentials`` has stored.
    """
    if sys.platform != "darwin":
        raise BuildError("the bundle is frozen and signed on macOS; see release.yml.")
    bundle = freeze(tools(), "macos")
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
