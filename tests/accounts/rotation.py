"""A program that is killed at each step of storing a renewed sign-in.

``python -m tests.accounts.rotation FOLDER CHANGE LINKS``: for each step in turn, copies
``FOLDER/start`` to ``FOLDER/step-<n>``, opens it in a child process and makes the change; the child
kills itself with SIGKILL at that step. Ends with the step that no child reached. Prints one line per
child: the folder's name and ``killed`` or ``done``.
"""

import asyncio
import os
import shutil
import signal
import sys
from pathlib import Path

from app.accounts.disk import Disk
from app.accounts.vault import Vault
from tests.accounts.keyrings import MemoryKeyring, record


class KillingDisk(Disk):
    """Ends the process, as ``kill -9`` does, at one step; each call has several."""

    def __init__(self, at_step, links):
        self._left = at_step
        self._links = links

    def _step(self):
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self._left -= 1

    def write(self, path, content):
        self._step()
        if self._left == 0:
            path.unlink(missing_ok=True)
            path.write_bytes(content[: len(content) // 2])
        self._step()
        super().write(path, content)
        self._step()

    def keep(self, path, other):
        self._step()
        if self._links:
            super().keep(path, other)
        else:
            self.replace(path, other)
        self._step()

    def replace(self, path, other):
        self._step()
        super().replace(path, other)
        self._step()

    def remove(self, path):
        self._step()
        super().remove(path)
        self._step()

    def settle(self, folder):
        super().settle(folder)
        self._step()


async def change(folder, entry, at_step, what, links):
    """Make the change over a disk that kills; returns only when the step was not reached."""
    keyring = MemoryKeyring()
    keyring.entries = dict([entry.split("=", 1)])
    vault = Vault(folder, keyring=keyring, disk=KillingDisk(at_step, links))
    await vault.open()
    match what:
        case "put":
            await vault.put(record(secret="renewed-token"))
        case "confirm":
            await vault.confirm("claude/claude-1")
        case "delete":
            await vault.delete("claude/claude-1")
        case "load":
            await vault.load()
    await vault.close()


def main(root, entry, what, links):
    """Kill one child per step; stop with the first that lives."""
    for step in range(100):
        folder = Path(root, f"step-{step}")
        shutil.copytree(Path(root, "start"), folder)
        child = os.fork()
        if child == 0:
            asyncio.run(change(folder, entry, step, what, links))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
            sys.stdout.write(f"{folder.name} killed\n")
            continue
        sys.stdout.write(f"{folder.name} {'done' if status == 0 else 'failed'}\n")
        return


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4] == "links")
