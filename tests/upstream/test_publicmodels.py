"""Public model data: fetched, kept with its age, and never waited for."""

import asyncio

import msgspec
import pytest

from app.errors import UpstreamError
from app.http import HttpReply
from app.routing.snapshot import SnapshotRow
from app.upstream.publicmodels import URL, PublicModels
from tests.upstream.registry import model, registry

DAY = 86_400.0
SHIPPED = {"shipped": SnapshotRow("openai", 1)}


class Desk:
    """A holder whose calls are answered from a list, the last one again and again."""

    def __init__(self, path, *answers, online=True, timeout_s=30.0):
        self.answers = list(answers) or [HttpReply(200, (("ETag", '"1"'),), registry())]
        self.asked = []
        self.at = 1_000_000.0
        self.changes = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.online = online
        self.public = PublicModels(
            self.fetch,
            path / "cache" / "models.dev.json",
            SHIPPED,
            changed=self.changed,
            online=lambda: self.online,
            now=lambda: self.at,
            timeout_s=timeout_s,
        )

    async def fetch(self, request, _limits):
        self.asked.append(request)
        await self.gate.wait()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def changed(self):
        self.changes += 1


async def test_the_shipped_facts_hold_until_something_was_fetched(tmp_path):
    desk = Desk(tmp_path)
    await desk.public.load()
    assert desk.public.snapshot is SHIPPED
    assert desk.public.fetched_at is None
    await desk.public.refresh()
    assert desk.asked[0].url == URL == "https://models.dev/api.json"
    assert desk.public.snapshot["claude-sonnet-4-5"].context == 200_000
    assert desk.public.snapshot["shipped"].context == 1
    assert desk.public.fetched_at == desk.at
    assert desk.changes == 1


async def test_what_was_fetched_is_kept_for_the_next_run_whatever_its_age(tmp_path):
    first = Desk(tmp_path)
    await first.public.refresh()
    later = Desk(tmp_path, UpstreamError("no network"))
    later.at += 30 * DAY
    await later.public.load()
    assert later.public.snapshot["claude-sonnet-4-5"].context == 200_000
    assert later.public.fetched_at == first.at
    await later.public.refresh()
    assert later.public.trouble == "no network"
    assert later.public.snapshot["claude-sonnet-4-5"].context == 200_000
    assert later.public.document() == registry()
    assert (tmp_path / "cache" / "models.dev.json").stat().st_mode & 0o077 == 0


async def test_it_is_asked_once_a_day_and_conditionally(tmp_path):
    desk = Desk(tmp_path, HttpReply(200, (("etag", '"1"'),), registry()), HttpReply(304))
    await desk.public.refresh()
    desk.at += DAY - 1
    await desk.public.refresh()
    assert len(desk.asked) == 1
    desk.at += 2
    await desk.public.refresh()
    assert dict(desk.asked[1].headers)["if-none-match"] == '"1"'
    assert desk.public.fetched_at == desk.at
    assert desk.changes == 1
    again = Desk(tmp_path)
    await again.public.load()
    assert again.public.fetched_at == desk.at


async def test_of_several_that_ask_at_once_one_does(tmp_path):
    desk = Desk(tmp_path)
    desk.gate.clear()
    waiting = [asyncio.ensure_future(desk.public.refresh()) for _ in range(5)]
    while not desk.asked:  # noqa: ASYNC110 - until the task has come so far
        await asyncio.sleep(0)
    waiting[0].cancel()  # one who leaves ends it for nobody else
    desk.gate.set()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert waiting[0].cancelled()
    assert len(desk.asked) == 1
    assert desk.public.fetched_at == desk.at


async def test_a_persons_wish_waits_for_the_cool_down_alone(tmp_path):
    desk = Desk(tmp_path)
    await desk.public.refresh()
    for seconds, asked in ((59, 1), (1, 2), (10, 2)):
        desk.at += seconds
        await desk.public.refresh(asked=True)
        assert len(desk.asked) == asked


async def test_a_failure_is_not_tried_again_for_an_hour_but_for_a_person(tmp_path):
    desk = Desk(tmp_path, UpstreamError("down"))
    await desk.public.refresh()
    desk.at += 1_800
    await desk.public.refresh()
    assert len(desk.asked) == 1
    await desk.public.refresh(asked=True)
    assert len(desk.asked) == 2
    desk.at += 3_601
    await desk.public.refresh()
    assert len(desk.asked) == 3


async def test_nothing_is_asked_where_that_is_switched_off(tmp_path):
    desk = Desk(tmp_path, online=False)
    await desk.public.refresh()
    await desk.public.refresh(asked=True)
    assert desk.asked == []


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (HttpReply(500), "status 500"),
        (HttpReply(304), "status 304"),
        (HttpReply(200, (), b"<html>sign in to the hotel</html>"), "something else"),
        (HttpReply(200, (), b"{}"), "only 0 models"),
    ],
)
async def test_another_answer_than_the_registry_changes_nothing(tmp_path, answer, words):
    desk = Desk(tmp_path, answer)
    await desk.public.refresh()
    assert words in desk.public.trouble
    assert desk.public.snapshot is SHIPPED
    assert desk.public.document() is None
    assert desk.changes == 0


async def test_an_answer_that_does_not_come_is_given_up(tmp_path):
    desk = Desk(tmp_path, timeout_s=0.0)
    desk.gate.clear()
    await desk.public.refresh()
    assert desk.public.trouble == "models.dev was too slow."


async def test_success_forgets_the_trouble(tmp_path):
    desk = Desk(tmp_path, UpstreamError("down"), HttpReply(200, (), registry()))
    await desk.public.refresh()
    desk.at += 61
    await desk.public.refresh(asked=True)
    assert desk.public.trouble == ""


@pytest.mark.parametrize("kept", [b"", b"{}\n{}", b'{"fetched_at":1}\n<html>', b"\xff\n\xff"])
async def test_a_copy_that_cannot_be_read_is_as_none(tmp_path, kept, caplog):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "models.dev.json").write_bytes(kept)
    desk = Desk(tmp_path)
    await desk.public.load()
    assert desk.public.snapshot is SHIPPED
    assert "cannot be used" in caplog.text


async def test_facts_that_cannot_be_kept_hold_until_the_stop(tmp_path, caplog):
    (tmp_path / "cache").write_text("a file where the folder should be")
    desk = Desk(tmp_path)
    await desk.public.refresh()
    assert desk.public.snapshot["claude-sonnet-4-5"].context == 200_000
    assert "cannot be kept" in caplog.text


async def test_a_clock_that_was_set_back_keeps_no_copy_fresh_for_ever(tmp_path):
    desk = Desk(tmp_path)
    desk.at += 400 * DAY
    await desk.public.refresh()
    back = Desk(tmp_path)
    await back.public.load()
    await back.public.refresh()
    assert len(back.asked) == 1


async def test_a_new_model_is_known_without_a_release(tmp_path):
    desk = Desk(tmp_path, HttpReply(200, (), registry(model("claude-next"))))
    await desk.public.refresh()
    assert "claude-next" in desk.public.snapshot
    about = msgspec.json.decode((tmp_path / "cache/models.dev.json").read_bytes().split(b"\n")[0])
    assert about == {"fetched_at": desk.at, "etag": ""}
