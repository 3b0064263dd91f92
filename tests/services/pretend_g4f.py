"""A virtual environment with a package ``g4f`` that has just what our start script touches.

The script itself, the installer's stamp, the process and the HTTP are the real ones; behind them
the stand-in answers.
"""

import subprocess
import sys
import textwrap
from pathlib import Path

from app.services.install import Installer
from app.services.journal import Journal
from app.services.table import TABLE

HERE = Path(__file__).parent


def pretend_installed(home):
    """Put it where the installer would, below the data folder of ``home``."""
    folder = home / "data" / "services" / "webai"
    folder.mkdir(parents=True, mode=0o700)
    installer = Installer(folder, TABLE["webai"]("k", dict).packages, Journal(home / "log"), {})
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", str(installer.environment)], check=True
    )
    (packages,) = installer.environment.glob("lib/python*/site-packages")
    for name, text in FILES.items():
        path = packages / "g4f" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    (installer.environment / ".dragoman").write_text(installer._wanted())
    assert installer.installed


FILES = {
    "__init__.py": "",
    "client/__init__.py": "",
    "client/factory.py": """
        class AbstractClientFactory:
            _live_providers = {}
    """,
    "cookies.py": """
        BROWSERS = ["an installed browser"]
        JARS = {}

        def set_cookies(domain, jar):
            JARS[domain] = jar
    """,
    "cli.py": f"""
        import subprocess
        import sys

        sys.path.insert(0, {str(HERE)!r})
        import stand_in

        def main():
            from g4f import cookies
            from g4f.client.factory import AbstractClientFactory

            assert cookies.BROWSERS == []
            assert AbstractClientFactory._live_providers
            words = sys.argv
            assert "--disable-pa-auto-download" in words, words
            host, port = words[words.index("--bind") + 1].split(":")
            assert host == "127.0.0.1"
            (key,) = [w.partition("=")[2] for w in words if w.startswith("--g4f-api-key=")]
            print("cookies of", *cookies.JARS, flush=True)
            try:
                subprocess.run(["true"])
            except PermissionError as error:
                print("refused:", error, flush=True)
            stand_in.serve(int(port), key, {{}})
    """,
}
