"""The Debian package from installation to purge, on a throwaway machine; see ``story``."""

import os
import shutil
import subprocess
import sys

import pytest

from tests.packaging_.machine import ISOLATED, LEFT_BEHIND
from tests.packaging_.scripts import ROOT
from tests.packaging_.test_package import deb, needs, run

OVERLAY = "mount -t tmpfs none {0} && mkdir {0}/u {0}/w {0}/r && mount -t overlay -o lowerdir=/,upperdir={0}/u,workdir={0}/w overlay {0}/r"

pytestmark = [
    pytest.mark.package,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a Debian package is Linux's"),
    pytest.mark.skipif(getattr(os, "geteuid", int)() != 0, reason="installs packages: needs root"),
    needs("dpkg", "unshare", "ip", "runuser", "useradd", "chroot", "update-ca-certificates"),
    needs("Xvfb", "dbus-daemon", "gnome-keyring-daemon"),
]


def older_than(package, folder):
    """Return the same package as the version before, with a file that the newer one lacks."""
    tree = folder / "older"
    run("dpkg-deb", "--raw-extract", str(package), str(tree))
    control = tree / "DEBIAN" / "control"
    lines = control.read_text("utf-8").splitlines(keepends=True)
    control.write_text(
        "".join("Version: 0.0.9\n" if line.startswith("Version: ") else line for line in lines)
    )
    (tree / LEFT_BEHIND).touch()
    result = folder / "dragoman_0.0.9.deb"
    run("dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", str(tree), str(result))
    shutil.rmtree(tree)
    return result


def test_package_is_installed_signed_in_used_upgraded_removed_and_purged(tmp_path, capsys):
    (tmp_path / "probe").mkdir()
    probe = [*ISOLATED, "sh", "-c", OVERLAY.format(tmp_path / "probe")]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip("this machine gives root no namespaces with an overlay")
    for package in ("python3-gi", "gir1.2-webkit2-4.1"):
        status = ("dpkg-query", "--show", "--showformat=${db:Status-Abbrev}", package)
        if "ii" not in subprocess.run(status, capture_output=True, text=True, check=False).stdout:
            pytest.skip(f"the package depends on {package}, which is not installed")
    newer = deb()
    (tmp_path / "machine").mkdir()
    words = ("-m", "tests.packaging_.story", older_than(newer, tmp_path), newer, tmp_path)
    command = [*ISOLATED, sys.executable, *map(str, words)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=1_200, check=False
    )
    with capsys.disabled():
        print(f"\n{done.stdout}")  # noqa: T201 - what held, and how long it took
    assert done.returncode == 0, done.stdout + done.stderr[-6000:]
    assert done.stdout.rstrip().endswith("the story ends well")
