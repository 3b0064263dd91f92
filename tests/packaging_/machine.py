"""A throwaway machine: this system below an overlay, with a network and processes of its own.

What is installed, written or deleted in it lands in memory and is gone with it, so a package can be
installed for real, and names of the internet can lead to this process. Made inside the namespaces
that ``ISOLATED`` gives; needs root.
"""

import contextlib
import os
import subprocess
import time
from pathlib import Path

ISOLATED = ("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc")
"""Starts a program in namespaces of its own; what it started ends with it."""
LEFT_BEHIND = "usr/lib/dragoman/_internal/of-the-older-version"
"""A file of the older package that the newer one lacks."""
WAIT_S = 60.0
"""A loaded machine may take long; nothing waits for this without need."""


class Machine:
    """The root folder of the machine, and how programs are run in it.

    Args:
        folder: an empty folder.
    """

    def __init__(self, folder):
        mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", folder)
        upper, work, self.root = (folder / name for name in ("upper", "work", "root"))
        for path in (upper, work, self.root):
            path.mkdir()
        layers = f"lowerdir=/,upperdir={upper},workdir={work}"
        mount("-t", "overlay", "-o", layers, "overlay", self.root)
        for name in ("proc", "dev", "sys"):
            mount("--rbind", f"/{name}", self.root / name)
        for name, mode in (("tmp", "1777"), ("run", "755")):
            mount("-t", "tmpfs", "-o", f"mode={mode}", "tmpfs", self.root / name)
        # A wire to nowhere: with loopback alone, resolvers that ask for AI_ADDRCONFIG find no name.
        for words in (
            "link add wire type veth peer name nowhere",
            "address add 192.0.2.2/24 dev wire",
            *(f"link set {name} up" for name in ("lo", "wire", "nowhere")),
        ):
            subprocess.run(["ip", *words.split()], check=True)

    def name_hosts(self, *names):
        """Let these names of the internet be this machine."""
        (self.root / "etc/hosts").write_text(f"127.0.0.1 localhost {' '.join(names)}\n")

    def trust(self, certificate):
        """Let the machine's programs trust an authority, as an administrator does it."""
        place = self.root / "usr/local/share/ca-certificates/story.crt"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(Path(certificate).read_bytes())
        self.run("update-ca-certificates")

    def command(self, *words):
        return ["chroot", str(self.root), *words]

    def run(self, *words, code=0, **options):
        """Run a program as root, to its end; return what it says."""
        return finished(self.command(*words), code, **options)


class User:
    """Somebody with a home on a machine.

    Args:
        machine: where.
        name: of the user.
        variables: of the session, beside those that each has.
    """

    def __init__(self, machine, name, **variables):
        machine.run("useradd", "--create-home", "--shell", "/bin/sh", name)
        self.machine, self.name = machine, name
        self.home = machine.root / "home" / name
        self.uid = self.home.stat().st_uid
        self.runtime = machine.root / "run" / "user" / str(self.uid)
        self.runtime.mkdir(parents=True, mode=0o700)
        os.chown(self.runtime, self.uid, self.uid)
        self.variables = {
            "HOME": f"/home/{name}",
            "USER": name,
            "LOGNAME": name,
            "PATH": "/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "XDG_RUNTIME_DIR": f"/run/user/{self.uid}",
            **variables,
        }

    def command(self, *words, **variables):
        told = [f"{name}={value}" for name, value in {**self.variables, **variables}.items()]
        runuser = ("runuser", "--user", self.name, "--", "env", "-i", "-C", f"/home/{self.name}")
        return self.machine.command(*runuser, *told, *words)

    def run(self, *words, code=0, **variables):
        """Run a program as this user, to its end; return what it says."""
        return finished(self.command(*words, **variables), code)

    @contextlib.contextmanager
    def running(self, *words, **variables):
        """Run a program as this user until it ends; what is left of it is killed."""
        with (self.machine.root / "tmp" / f"{self.name}.log").open("ab") as output:
            process = subprocess.Popen(
                self.command(*words, **variables),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            try:
                yield process
            finally:
                process.kill()
                process.wait()

    def write(self, name, content):
        """Write a file below the home, as if the user had."""
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        for each in (path, *path.parents):
            if each == self.home:
                return path
            os.chown(each, self.uid, self.uid)
        raise AssertionError(name)

    def processes(self, word=""):
        """Return the command lines of this user's processes that have a word in them."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if folder.stat().st_uid == self.uid:  # one that waits to be buried is root's
                    line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    found += [line.strip()] if word in line else []
        return found


def mount(*words):
    subprocess.run(["mount", *map(str, words)], check=True)


def finished(command, code=0, **options):
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
        **options,
    )
    assert done.returncode == code, (command, done.returncode, done.stdout[-6000:])
    return done.stdout


def until(holds, about=lambda: None):
    """Wait until something holds, and return it; what it is about is told when it does not."""
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end:
        if found := holds():
            return found
        time.sleep(0.05)
    raise AssertionError(about())
