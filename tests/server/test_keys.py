"""What the key routes ask of the store."""

import pytest

from app.errors import AppError, RequestError
from app.server.keys import create_key, list_keys, revoke_key
from app.store.opening import Opening


async def opened(folder):
    opening = Opening(None, folder)
    await opening.open()
    return opening


async def test_keys_are_made_listed_and_revoked(tmp_path):
    opening = await opened(tmp_path)
    try:
        body = b'{"label": "agent", "models": ["gpt-*"]}'
        record, plain = await create_key(opening, body)
        assert plain.startswith("dg-")
        assert (record.label, record.models) == ("agent", ("gpt-*",))
        assert await list_keys(opening) == [record]
        assert (await revoke_key(opening, "agent")).revoked_at is not None
        with pytest.raises(RequestError):
            await revoke_key(opening, "nobody")
    finally:
        await opening.close()


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b'{"colour": 1}', b'{"kind": "king"}', b"\xff", b'{"a":' * 5000]
)
async def test_a_wrong_body_is_told(tmp_path, body):
    opening = await opened(tmp_path)
    try:
        with pytest.raises(RequestError):
            await create_key(opening, body)
    finally:
        await opening.close()


async def test_a_store_that_cannot_be_opened_is_told(tmp_path):
    (tmp_path / "dragoman.db").mkdir()
    opening = await opened(tmp_path)
    with pytest.raises(AppError) as caught:
        await list_keys(opening)
    assert caught.value.code == "store_unavailable"
