"""The database, opened beside the first requests."""

import asyncio

import pytest

from app.errors import AppError
from app.store.opening import Opening


async def test_keys_can_be_had_once_it_is_open(tmp_path):
    opening = Opening(None, tmp_path)
    waiting = asyncio.ensure_future(opening.keys())
    await asyncio.sleep(0)
    assert not waiting.done()
    await opening.open()
    keys = await waiting
    record, plain = await asyncio.to_thread(keys.create, "client", "mine")
    assert plain.startswith("dg-")
    assert opening.index.find(record.sha256) == record
    assert await opening.database() is not None
    assert (opening.trouble, opening.done.is_set()) == ("", True)
    await opening.close()


async def test_keys_of_former_runs_are_known_when_it_is_open(tmp_path):
    first = Opening(None, tmp_path)
    await first.open()
    record, _ = await asyncio.to_thread((await first.keys()).create, "client", "mine")
    await first.close()
    second = Opening(None, tmp_path)
    assert second.index.find(record.sha256) is None
    await second.open()
    assert second.index.find(record.sha256) == record
    await second.close()


@pytest.mark.parametrize("what", ["keys", "database"])
async def test_what_cannot_be_opened_is_told(tmp_path, what, caplog):
    (tmp_path / "dragoman.db").mkdir()
    opening = Opening(None, tmp_path)
    await opening.open()
    assert opening.trouble
    assert opening.trouble in caplog.text
    with pytest.raises(AppError) as caught:
        await getattr(opening, what)()
    assert (caught.value.status, caught.value.code) == (503, "store_unavailable")
    assert opening.trouble in caught.value.message
    await opening.close()


async def test_closing_what_was_never_opened_does_nothing(tmp_path):
    await Opening(None, tmp_path).close()


async def test_use_so_far_is_read_before_the_first_key_can_be_used(tmp_path):
    opening = Opening(None, tmp_path)
    seen = []
    opening.read_use = lambda source: seen.append(
        (opening.done.is_set(), source.sums("day", 0, 99_999_999, ("day",), {}))
    )
    await opening.open()
    assert seen == [(False, [])]
    await opening.close()


async def test_use_that_cannot_be_read_keeps_no_key_from_being_used(tmp_path, caplog):
    def fail(_source):
        raise AppError("The disk is gone.", code="store_unavailable")

    opening = Opening(None, tmp_path)
    opening.read_use = fail
    await opening.open()
    assert await opening.keys() is not None
    assert "what keys have used is not known yet: The disk is gone." in caplog.text
    await opening.close()
