"""Dragoman with marks of its own for the relay, and a ping that tests can wait for."""

from app.configfile import load_file, locate
from app.instance import Instance
from app.paths import Paths
from app.service import ServeOptions, Service


class Relayed(Service):
    """The program, with what a test sets on it before the start."""

    marks = None

    def _build(self, file_limit):
        super()._build(file_limit)
        if self.marks is not None:
            self.relay.marks = self.marks


def build_relayed(home, settings=""):
    """A service that is not started yet; ``settings`` is the text of its file."""
    env = {"DRAGOMAN_HOME": str(home)}
    paths = Paths.find(env)
    paths.config.mkdir(parents=True, exist_ok=True)
    if settings:
        paths.config_file.write_text(settings)
        paths.config_file.chmod(0o600)
    located = locate(None, env)
    config = load_file(located, env)
    instance = Instance.acquire(paths.data, paths.runtime)
    return Relayed(paths, located, ServeOptions(port=0), env, config, instance)
