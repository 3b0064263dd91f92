"""A real Secret Service on a bus of its own: dbus-daemon and gnome-keyring-daemon."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

missing = [name for name in ("dbus-daemon", "gnome-keyring-daemon") if shutil.which(name) is None]
needs_bus = pytest.mark.skipif("dbus-daemon" in missing, reason="dbus-daemon is not installed")
needs_service = pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


class Session:
    """A bus, and on it a keyring as soon as ``unlock`` is called."""

    def __init__(self, home: Path):
        self.env = {
            **os.environ,
            "HOME": str(home),
            "XDG_RUNTIME_DIR": str(home / "run"),
            "XDG_DATA_HOME": str(home / "share"),
            "XDG_CONFIG_HOME": str(home / "config"),
            "XDG_CACHE_HOME": str(home / "cache"),
        }
        self.env.pop("DISPLAY", None)  # nothing may show a dialog
        self.env.pop("WAYLAND_DISPLAY", None)
        (home / "run").mkdir(mode=0o700)
        # A configuration without service folders: the keyring starts when a test says so.
        config = home / "bus.conf"
        config.write_text(
            "<busconfig><type>session</type>"
            f"<listen>unix:path={home}/run/bus</listen>"
            '<policy context="default"><allow send_destination="*" eavesdrop="true"/>'
            '<allow eavesdrop="true"/><allow own="*"/></policy></busconfig>'
        )
        self._bus = subprocess.Popen(
            [
                "dbus-daemon",
                f"--config-file={config}",
                "--nofork",
                "--nopidfile",
                "--print-address",
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # it complains where it may not raise its limits
            env=self.env,
            text=True,
        )
        self.address = self._bus.stdout.readline().strip()
        self.env["DBUS_SESSION_BUS_ADDRESS"] = self.address
        self._keyring = None

    def unlock(self):
        """Start the keyring with an open login collection; returns when it is on the bus."""
        self._keyring = subprocess.Popen(
            ["gnome-keyring-daemon", "--unlock", "--foreground", "--components=secrets"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=self.env,
            text=True,
        )
        self._keyring.stdin.write("password of the tests")
        self._keyring.stdin.close()
        # Its control socket is told on standard output once it serves.
        self._keyring.stdout.readline()
        self.wait_for_service()

    def wait_for_service(self):
        subprocess.run(
            [
                *("dbus-send", "--session", "--print-reply", "--reply-timeout=10000"),
                *("--dest=org.freedesktop.secrets", "/org/freedesktop/secrets"),
                "org.freedesktop.DBus.Peer.Ping",
            ],
            env=self.env,
            check=True,
            capture_output=True,
        )

    def lock(self):
        """Lock the login collection; without a display nobody can unlock it."""
        subprocess.run(
            [
                *("dbus-send", "--session", "--print-reply", "--dest=org.freedesktop.secrets"),
                *("/org/freedesktop/secrets", "org.freedesktop.Secret.Service.Lock"),
                "array:objpath:/org/freedesktop/secrets/collection/login",
            ],
            env=self.env,
            check=True,
            capture_output=True,
        )

    def freeze(self):
        """Let the keyring answer nothing more."""
        self._keyring.send_signal(signal.SIGSTOP)

    def thaw(self):
        self._keyring.send_signal(signal.SIGCONT)

    def close(self):
        if self._keyring is not None:
            self._keyring.kill()
            self._keyring.wait()
            self._keyring.stdout.close()
        self._bus.kill()
        self._bus.wait()
        self._bus.stdout.close()
