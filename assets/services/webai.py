"""Starts g4f's OpenAI-compatible server; runs in g4f's own environment, not in Dragoman's.

::

    python -I webai.py PORT FOLDER

Standard input gives one line of JSON, ``{"key": "…", "cookies": {domain: {name: value}}}``, and is
then the life line: when it ends, so does this process, so that no server outlives Dragoman. The
key, which every call has to bring, and the cookies are in memory only: neither in arguments nor in
a file. FOLDER takes whatever g4f keeps.

What g4f would do by itself and does not here:

- it would download and run code of others at each start: ``--disable-pa-auto-download``;
- it would fetch a list of further services, with addresses of their own, and end where it cannot
  (8.8.6, ``client/factory.py``): the list is empty, and so is its hosted last resort;
- it would read the cookies of installed browsers: there are no browsers to read from;
- it would start an installed Chromium, and for some requests whole command lines, outside of the
  user's sight: no program can be started from here, and what needs one fails and says so.
"""

import json
import os
import sys
import threading


def main():
    """Take what is given, and serve until the life line ends."""
    port, folder = sys.argv[1:]
    given = json.loads(sys.stdin.readline())
    threading.Thread(target=follow_life_line, daemon=True).start()
    sys.addaudithook(refuse_programs)

    from g4f.client.factory import AbstractClientFactory

    AbstractClientFactory._live_providers = {
        # Its own modules look this one up when they are imported; it is ignored below.
        "providers": {"default": {"baseUrl": "https://switched-off.invalid/v1"}},
        "defaultModels": {},
    }

    from g4f import cookies

    cookies.BROWSERS = []
    for domain, jar in given["cookies"].items():
        cookies.set_cookies(domain, jar)

    from g4f.cli import main as serve

    options = ["--no-gui", "--disable-pa-auto-download", "--ignore-cookie-files"]
    options += [
        "--disable-colors",
        "--no-access-log",
        "--cookies-dir",
        os.path.join(folder, "none"),
    ]
    options += ["--ignored-providers", "G4FSpace", "AgentTools"]
    # This list is the program's own; the arguments that others can see stay as they are.
    sys.argv = [
        "g4f",
        "api",
        "--bind",
        f"127.0.0.1:{port}",
        f"--g4f-api-key={given['key']}",
        *options,
    ]
    serve()


STARTS = {"subprocess.Popen", "os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn"}
STARTS |= {"os.spawn", "os.startfile", "pty.spawn"}


def refuse_programs(event, _arguments):
    """Let nothing start a program; a hook of this kind cannot be taken away again."""
    if event in STARTS:
        raise PermissionError("Dragoman lets this service start no programs.")


def follow_life_line():
    """End the process when nobody holds the other end any more."""
    while sys.stdin.read(4096):
        pass
    os._exit(0)


if __name__ == "__main__":
    main()
