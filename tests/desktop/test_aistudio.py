"""The desktop's half with windows that only note what they are told; real ones are in end_to_end."""

import asyncio
import json
from concurrent.futures import Future

from app.desktop.aistudio import StudioWindows
from app.errors import AppError


class FakeWindows:
    possible = True

    def __init__(self):
        self.did = []
        self.heard = {}
        self.there = True

    def open(self, name, page, heard):
        self.did.append(("open", name, page))
        self.heard[name] = heard

    def order(self, name, **order):
        self.did.append(("order", name, order))
        return self.there

    def close(self, name):
        self.did.append(("close", name))
        self.heard.pop(name, None)

    def names(self):
        return tuple(self.heard)

    def browse(self, url):
        self.did.append(("browse", url))

    def processes(self):
        return (("aistudio/home", 5, 1.0, "ready"),)


class Room:
    def __init__(self, tmp_path, error=None):
        self.windows = FakeWindows()
        self.told = []
        self.error = error
        self.work = []
        self.folder = tmp_path / "aistudio"
        self.studios = StudioWindows(self.windows, self.folder, self._call, self.work.append)

    def _call(self, name, told):
        assert name == "aistudio_heard"
        self.told.append(json.loads(told))
        future = Future()
        if self.error is None:
            future.set_result("")
        else:
            future.set_exception(self.error)
        return future

    async def settle(self):
        work, self.work[:] = list(self.work), []
        await asyncio.gather(*work)


async def test_window_has_a_folder_that_lasts_and_is_kept_and_watched(tmp_path):
    room = Room(tmp_path)
    room.studios.open("home", "https://aistudio.google.com/apps")
    await room.settle()
    ((_, name, page),) = room.windows.did
    assert name == "aistudio/home"
    assert page.storage == room.folder / "home"
    assert (page.keep, page.watch, page.host_in_title) == (True, True, True)
    assert [entry for entry, _ in page.menu] == ["Open in my browser", "Hide"]
    assert page.cookie is None  # nothing of Google's is read


async def test_what_a_window_says_is_handed_on(tmp_path):
    room = Room(tmp_path)
    room.studios.open("home", "https://x.test/")
    await room.settle()
    room.windows.heard["aistudio/home"]({"event": "opened"})
    assert room.told == [{"label": "home", "event": {"event": "opened"}}]
    assert room.studios.windows
    assert room.studios.processes() == (("aistudio/home", 5, 1.0, "ready"),)


async def test_end_of_a_window_that_was_closed_does_not_count_for_its_successor(tmp_path):
    room = Room(tmp_path)
    room.studios.open("home", "https://x.test/")
    await room.settle()
    old = room.windows.heard["aistudio/home"]
    room.studios.close("home")
    old({"event": "ended"})
    room.studios.open("home", "https://x.test/")
    await room.settle()
    old({"event": "ended"})
    assert room.told == []


async def test_orders_are_confirmed_only_by_a_window_that_is_there(tmp_path):
    room = Room(tmp_path)
    room.studios.order("home", "hide")
    room.studios.order("home", "show")
    await room.settle()
    assert [one["event"]["event"] for one in room.told] == ["hidden", "shown"]
    room.windows.there = False
    room.studios.order("home", "hide")
    await room.settle()
    assert len(room.told) == 2


async def test_sign_out_waits_for_the_window_and_deletes_its_folder(tmp_path):
    room = Room(tmp_path)
    (room.folder / "home" / "cookies").mkdir(parents=True)
    (room.folder / "work").mkdir()
    room.studios.forget("home")
    await room.settle()
    assert room.windows.did == [("close", "aistudio/home")]
    assert [one.name for one in room.folder.iterdir()] == ["work"]


async def test_address_is_opened_in_the_browser(tmp_path):
    room = Room(tmp_path)
    room.studios.browse("https://x.test/")
    await room.settle()
    assert room.windows.did == [("browse", "https://x.test/")]


async def test_program_that_stops_does_not_disturb_a_window(tmp_path):
    room = Room(tmp_path, AppError("Dragoman is stopping.", code="not_running"))
    room.studios.open("home", "https://x.test/")
    await room.settle()
    room.windows.heard["aistudio/home"]({"event": "opened"})
    assert len(room.told) == 1
