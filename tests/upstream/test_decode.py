import gzip
import zlib

import brotli
import pytest
import zstandard

from app.errors import UpstreamError
from app.upstream.decode import Decoded, open_decoder

TEXT = b"data: " + b"".join(b"word %d " % i for i in range(400))


def raw_deflate(data):
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


PACK = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}


class Source:
    def __init__(self, chunks):
        self.chunks = list(chunks)
        self.closed = False

    def __aiter__(self):
        return self

    async def __anext__(self):
        if not self.chunks:
            raise StopAsyncIteration
        return self.chunks.pop(0)

    async def close(self):
        self.closed = True


def decoded(coding, chunks, limit=64 * 1024 * 1024):
    source = Source(chunks)
    body = Decoded(source, source.close, open_decoder(coding, "api.test"), "api.test", limit)
    return source, body


async def collect(coding, chunks):
    _, body = decoded(coding, chunks)
    return b"".join([chunk async for chunk in body])


@pytest.mark.parametrize(
    ("coding", "packed"),
    [*((name, pack(TEXT)) for name, pack in PACK.items()), ("deflate", raw_deflate(TEXT))],
    ids=[*PACK, "raw deflate"],
)
async def test_a_body_split_at_every_byte_decodes_the_same(coding, packed):
    for cut in range(1, len(packed)):
        assert await collect(coding, [packed[:cut], packed[cut:]]) == TEXT
    assert await collect(coding, [packed[i : i + 1] for i in range(len(packed))]) == TEXT


@pytest.mark.parametrize(
    ("coding", "packed"),
    [*((name, pack(TEXT)) for name, pack in PACK.items()), ("deflate", raw_deflate(TEXT))],
    ids=[*PACK, "raw deflate"],
)
async def test_a_body_cut_at_any_byte_is_an_error(coding, packed):
    for cut in range(1, len(packed)):
        with pytest.raises(UpstreamError) as caught:
            await collect(coding, [packed[:cut]])
        assert caught.value.code == "upstream_protocol"


@pytest.mark.parametrize("coding", PACK)
async def test_no_body_at_all_is_complete(coding):
    assert await collect(coding, []) == b""


async def test_two_codings_are_taken_off_in_reverse():
    assert await collect("gzip, br", [brotli.compress(gzip.compress(TEXT))]) == TEXT


async def test_members_and_frames_behind_each_other_are_one_body():
    zstd = PACK["zstd"]
    assert await collect("gzip", [gzip.compress(b"one") + gzip.compress(b"two")]) == b"onetwo"
    assert await collect("zstd", [zstd(b"one") + zstd(b"two")]) == b"onetwo"


def flushing_zlib(events):
    packer = zlib.compressobj(wbits=31)
    for event in events:
        yield packer.compress(event) + packer.flush(zlib.Z_SYNC_FLUSH)
    yield packer.flush()


def flushing_brotli(events):
    packer = brotli.Compressor()
    for event in events:
        yield packer.process(event) + packer.flush()
    yield packer.finish()


def flushing_zstd(events):
    packer = zstandard.ZstdCompressor().compressobj()
    for event in events:
        yield packer.compress(event) + packer.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
    yield packer.flush()


@pytest.mark.parametrize(
    ("coding", "pack"),
    [("gzip", flushing_zlib), ("br", flushing_brotli), ("zstd", flushing_zstd)],
)
async def test_an_event_is_given_out_with_the_chunk_that_completes_it(coding, pack):
    events = [b"data: %d\n\n" % i for i in range(20)]
    _, body = decoded(coding, pack(events))
    assert [chunk async for chunk in body] == events


@pytest.mark.parametrize("coding", PACK)
async def test_one_chunk_may_not_become_more_than_the_limit(coding):
    packed = PACK[coding](bytes(3_000_000))
    source, body = decoded(coding, [packed], limit=1_000_000)
    with pytest.raises(UpstreamError) as caught:
        await body.__anext__()
    assert caught.value.code == "upstream_too_large"
    assert source.closed
    with pytest.raises(UpstreamError):
        await body.__anext__()


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
async def test_a_bomb_in_small_pieces_is_found_by_its_ratio(coding):
    packed = PACK[coding](bytes(40_000_000))
    size = max(1, len(packed) // 40)
    source, body = decoded(coding, [packed[i : i + size] for i in range(0, len(packed), size)])
    wrote = []

    async def drain():
        while True:
            wrote.append(len(await body.__anext__()))

    with pytest.raises(UpstreamError) as caught:
        await drain()
    assert caught.value.code == "upstream_too_large"
    assert sum(wrote) < 40_000_000
    assert source.closed


async def test_output_that_exactly_fills_a_step_is_not_held_back():
    for size in (1024 * 1024 - 1, 1024 * 1024, 1024 * 1024 + 1, 2 * 1024 * 1024):
        assert len(await collect("gzip", [gzip.compress(bytes(size))])) == size


@pytest.mark.parametrize("coding", PACK)
async def test_a_damaged_body_is_an_error(coding):
    source, body = decoded(coding, [b"\x00\x01 this is not compressed", b"at all"])
    with pytest.raises(UpstreamError) as caught:
        async for _ in body:
            pass
    assert caught.value.code == "upstream_protocol"
    assert source.closed


async def test_unknown_and_too_many_codings_are_refused():
    with pytest.raises(UpstreamError) as caught:
        open_decoder("lzma", "api.test")
    assert caught.value.code == "upstream_protocol"
    with pytest.raises(UpstreamError):
        open_decoder("gzip, gzip, gzip, gzip", "api.test")
    assert open_decoder(" Identity ", "api.test") == []
