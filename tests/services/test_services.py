"""The switches and the life of helper programs; calls through one are in tests/server."""

import asyncio

import pytest

from app.errors import RequestError, UpstreamError
from app.paths import Paths
from app.providers.signin import Consent
from app.services.definition import Entry, Packages
from app.services.services import Services, Setting
from app.upstream.client import Client, ClientSettings
from tests.fakes.basic import Clock
from tests.services.running import free_port, lives, stand_in


class Room:
    """Services with the stand-in as their only entry, installed or not."""

    def __init__(self, home, *manners, installed=True, names=("stand-in",), **setting):
        self.paths = Paths.find({"DRAGOMAN_HOME": str(home)})
        self.setting = Setting(**{"port": free_port(), **setting})
        self.client = Client(ClientSettings())
        self.heard = asyncio.Event()
        self.order = []
        self.manners = manners
        self.services = Services(
            [self.entry(name) for name in names],
            lambda _name: self.setting,
            self.paths,
            {},
            lambda request, limits: self.client.fetch(request, limits, proxy=request.proxy),
            self.note,
            Clock(),
        )
        if installed:
            for name in names:
                installer = self.services._all[name].installer
                installer.environment.mkdir(parents=True)
                (installer.environment / ".dragoman").write_text(installer._wanted())

    def entry(self, name):
        def define(place):
            assert place.folder == self.paths.data / "services" / name / "home"
            port = place.port if name == "stand-in" else free_port()
            return stand_in(place.folder, *self.manners, port=port)

        consent = Consent("v1", "It may bite.", "Nothing.")
        return Entry(name, name.title(), Packages("services/webai.lock", "1.0"), consent, define)

    def note(self, name):
        self.order.append((name, self.services.view(name).state))
        self.heard.set()

    async def until(self, state, name="stand-in"):
        while self.services.view(name).state != state:
            self.heard.clear()
            await asyncio.wait_for(self.heard.wait(), 30)
        return self.services.view(name)

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        await self.services.close()
        await self.client.aclose()


async def test_nothing_starts_without_consent_even_when_the_settings_say_so(tmp_path):
    async with Room(tmp_path, enabled=True) as room:
        await room.services.start()
        view = room.services.view("stand-in")
        assert (view.state, view.on) == ("off", False)
        assert "terms must be agreed to" in view.reason
        with pytest.raises(RequestError, match=r"It may bite\. Nothing\."):
            await room.services.turn_on("stand-in", "v0")


async def test_consent_and_its_time_are_kept(tmp_path):
    async with Room(tmp_path) as room:
        await room.services.turn_on("stand-in", "v1")
        view = await room.until("ready")
        assert (view.agreed, view.consented_at) == (True, 1_770_000_000.0)
        assert view.since == 1_770_000_000.0
        assert (await room.services.turn_on("stand-in")).pid == view.pid  # on already


async def test_settings_start_it_once_it_was_agreed_to(tmp_path):
    async with Room(tmp_path) as room:
        await room.services.turn_on("stand-in", "v1")
        await room.services.turn_off("stand-in")
    async with Room(tmp_path, installed=False) as room:
        await room.services.start()
        assert room.services.view("stand-in").state == "off"  # the switch holds
        room.setting = Setting(enabled=True, port=room.setting.port)
        await room.services.configure()  # and what the settings say later holds over it
        await room.until("ready")
        await room.services.configure()
        room.setting = Setting(enabled=False, port=room.setting.port)
        await room.services.configure()
        assert room.services.view("stand-in").state == "off"


async def test_programs_are_stopped_in_the_other_order(tmp_path):
    async with Room(tmp_path, names=("first", "second")) as room:
        for name in ("first", "second"):
            await room.services.turn_on(name, "v1")
            await room.until("ready", name)
        pids = [view.pid for view in room.services.views()]
        room.order.clear()
        await room.services.close()
        assert [name for name, state in room.order if state == "stopping"] == ["second", "first"]
        assert not any(map(lives, pids))


async def test_what_is_not_installed_is_not_started(tmp_path):
    async with Room(tmp_path, installed=False) as room:
        with pytest.raises(RequestError) as caught:
            await room.services.turn_on("stand-in", "v1")
        assert caught.value.code == "service_not_installed"
        assert room.services.view("stand-in").state == "not_installed"


async def test_address_is_given_only_while_it_serves(tmp_path):
    async with Room(tmp_path) as room:
        with pytest.raises(UpstreamError) as caught:
            room.services.address("stand-in", "k")
        assert (caught.value.status, caught.value.code) == (503, "service_not_ready")
        await room.services.turn_on("stand-in", "v1")
        await room.until("ready")
        address = f"http://127.0.0.1:{room.setting.port}"
        assert room.services.address("stand-in", "k") == (address, "k")


async def test_restart_takes_only_what_runs(tmp_path):
    async with Room(tmp_path) as room:
        await room.services.restart("stand-in")
        assert room.services.view("stand-in").state == "off"
        await room.services.turn_on("stand-in", "v1")
        old = (await room.until("ready")).pid
        await room.services.restart("stand-in")
        assert (await room.until("ready")).pid != old


async def test_program_that_was_given_up_is_started_by_hand(tmp_path):
    async with Room(tmp_path, "crash") as room:
        await room.services.turn_on("stand-in", "v1")
        view = await room.until("failed")
        assert view.until is None
        room.manners = ()
        await room.services.turn_on("stand-in")
        await room.until("ready")


class FakeInstaller:
    """Installs when it is let, or fails."""

    def __init__(self, real, error=None):
        self.real = real
        self.error = error
        self.gate = asyncio.Event()
        self.python = real.python
        self.environment = real.environment
        self.installed = ""

    async def install(self):
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        self.installed = "1.0"


async def installing(room, error=None):
    one = room.services._all["stand-in"]
    one.installer = FakeInstaller(one.installer, error)
    view = room.services.install("stand-in")
    assert view.state == "installing"
    assert room.services.install("stand-in").state == "installing"  # the same one
    return one.installer


async def test_installing_is_seen_to_its_end(tmp_path):
    async with Room(tmp_path, installed=False) as room:
        installer = await installing(room)
        installer.gate.set()
        assert (await room.until("off")).installed == "1.0"


async def test_failed_install_says_why(tmp_path, caplog):
    async with Room(tmp_path, installed=False) as room:
        installer = await installing(room, OSError("the disk is full"))
        installer.gate.set()
        view = await room.until("not_installed")
        assert view.reason == "the disk is full"
        assert "could not be installed: the disk is full" in caplog.text


async def test_closing_ends_an_install(tmp_path):
    async with Room(tmp_path, installed=False) as room:
        await installing(room)
        await room.services.close()
        assert room.services.view("stand-in").state == "not_installed"


async def test_unknown_names_are_refused(tmp_path):
    async with Room(tmp_path) as room:
        for ask in (room.services.view, room.services.entry, room.services.log_of):
            with pytest.raises(RequestError, match="no service 'x'"):
                ask("x")
