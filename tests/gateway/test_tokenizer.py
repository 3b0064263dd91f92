import asyncio
import gzip
import logging

import pytest

from app.gateway.tokenizer import Tokenizer, _read_encoding
from app.paths import asset

PROSE = "The quick brown fox — naïve, 42 years old — jumps over it's\nlazy dog;  2,500 times.\n\n"


@pytest.fixture(scope="module")
def encoding():
    return _read_encoding(None)


@pytest.fixture
def ready(encoding):
    """A tokenizer as it is after its load, which takes half a second."""
    tokenizer = Tokenizer()
    tokenizer._encoding = encoding
    yield tokenizer
    tokenizer.close()


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        ("hello world", 2),
        ("tiktoken is great!", 6),  # OpenAI's cookbook: "How to count tokens with tiktoken"
        ("antidisestablishmentarianism", 6),  # the same page
        ("2 + 2 = 4", 7),  # the same page
        ("お誕生日おめでとう", 8),  # the same page
        ("<|endoftext|>", 7),  # plain text, not the one special token
        ("\ud800", 1),  # half a character becomes the replacement character
    ],
)
async def test_known_texts_have_their_published_counts(text, tokens, ready):
    assert await ready.count(text) == tokens


async def test_a_long_text_counts_as_many_tokens_in_slices_as_whole(encoding, ready):
    text = PROSE * 4_000
    assert await ready.count(text) == len(encoding.encode_ordinary(text))


@pytest.mark.parametrize("letter", ["a", " ", "\n", "!", "é", "中", "1"])
async def test_a_long_run_of_one_character_is_counted(letter, encoding, ready):
    tokens = await ready.count(letter * 200_000)
    per_slice = len(encoding.encode_ordinary(letter * 65_536))
    assert tokens == pytest.approx(per_slice * 200_000 / 65_536, rel=0.01)


async def test_a_huge_text_is_sampled_within_some_percent(encoding, ready):
    block = "".join(f"{PROSE} {number} " for number in range(2_000))
    tokens = await ready.count(block * 40)
    assert len(block) * 40 > 5_000_000
    assert tokens == pytest.approx(len(encoding.encode_ordinary(block)) * 40, rel=0.03)


async def test_counts_at_once_share_one_load_and_the_table_stays():
    tokenizer = Tokenizer()
    assert not tokenizer.loaded
    first = asyncio.ensure_future(tokenizer.count("hello world"))
    counts = await asyncio.gather(*(tokenizer.count("hello world") for _ in range(5)))
    assert counts == [2] * 5
    assert await first == 2
    loaded = tokenizer._encoding
    assert await tokenizer.count("hello") == 1
    assert tokenizer._encoding is loaded
    tokenizer.close()


async def test_a_caller_that_leaves_does_not_end_the_load_for_others():
    tokenizer = Tokenizer()
    leaving = asyncio.ensure_future(tokenizer.count("hello world"))
    staying = asyncio.ensure_future(tokenizer.count("hello world"))
    await asyncio.sleep(0)
    leaving.cancel()
    assert await staying == 2
    assert leaving.cancelled()
    tokenizer.close()


async def test_the_table_is_dropped_when_idle_and_loaded_again_on_need():
    tokenizer = Tokenizer(idle_s=0.0)
    assert await tokenizer.count("hello world") == 2
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not tokenizer.loaded
    assert await tokenizer.count("hello world") == 2
    tokenizer.close()


async def test_close_gives_the_memory_back_and_leaves_no_timer():
    tokenizer = Tokenizer()
    await tokenizer.count("hello world")
    timer = tokenizer._timer
    tokenizer.close()
    assert timer.cancelled()
    assert not tokenizer.loaded
    assert await tokenizer.count("12345678") == 2  # by length
    assert not tokenizer.loaded


async def test_closing_during_the_load_leaves_nothing_loaded():
    tokenizer = Tokenizer()
    counting = asyncio.ensure_future(tokenizer.count("12345678"))
    await asyncio.sleep(0)
    tokenizer.close()
    assert await counting == 2
    assert not tokenizer.loaded


def _damaged(tmp_path, content):
    path = tmp_path / "ranks.gz"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("case", ["missing", "not gzip", "cut", "no head", "too short", "flipped"])
async def test_a_table_that_cannot_be_read_is_estimated_by_length_with_one_warning(
    case, tmp_path, caplog
):
    good = asset("tokens/o200k_base.gz").read_bytes()
    flipped = bytearray(good)
    flipped[5_000] ^= 0xFF
    content = {
        "not gzip": b"hello",
        "cut": good[:10_000],
        "no head": gzip.compress(b"tokens"),
        "too short": gzip.compress(b'{"pattern":"x","special":{},"count":3}\n\1\1\1ab'),
        "flipped": bytes(flipped),
    }
    path = tmp_path / "none.gz" if case == "missing" else _damaged(tmp_path, content[case])
    tokenizer = Tokenizer(path)
    with caplog.at_level(logging.WARNING, "dragoman.tokens"):
        assert await tokenizer.count("x" * 400) == 100
        assert await tokenizer.count("x") == 1
        assert await tokenizer.count("") == 0
    assert len(caplog.records) == 1
    tokenizer.close()
