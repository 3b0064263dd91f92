"""Credentials that a program prints, with real programs."""

import asyncio
import os
import sys
import time

import pytest

from app.accounts.command import CommandCredentials, parse_printed, run_program
from app.config import CredentialCommand
from app.errors import AccountError
from app.providers import Credential
from tests.fakes.basic import Clock

NOW = 1_800_000_000.0
posix = pytest.mark.skipif(os.name != "posix", reason="signals")


def command(code, *words, **more):
    return CredentialCommand(command=(sys.executable, "-c", code, *words), **more)


def run(code, *words, env=None, **more):
    return run_program(env if env is not None else dict(os.environ))(command(code, *words, **more))


# What is printed


@pytest.mark.parametrize(
    ("printed", "secret", "expires_at"),
    [
        (b"sk-1\n", "sk-1", None),
        (b"  sk-1  ", "sk-1", None),
        (b'{"api_key": "sk-1"}', "sk-1", None),
        (b'{"key": "b", "access_token": "a"}', "a", None),
        (b'{"token": "a", "expires_in": 60}', "a", NOW + 60),
        (b'{"token": "a", "expires_at": 1800000060}', "a", NOW + 60),
        (b'{"token": "a", "expires_at": 1800000060000}', "a", NOW + 60),
        (b'{"token": "a", "expires_at": "2027-01-15T08:01:00Z"}', "a", NOW + 60),
        (
            b'{"Version": 1, "SessionToken": "a", "Expiration": "2027-01-15T08:01:00Z"}',
            "a",
            NOW + 60,
        ),
        (b'{"token": "a", "expires_in": true, "expiration": "soon"}', "a", None),
    ],
)
def test_keys_and_objects_are_read(printed, secret, expires_at):
    assert parse_printed(printed, NOW) == Credential(secret, "api_key", expires_at, obtained_at=NOW)


@pytest.mark.parametrize(
    "printed",
    [
        b"",
        b" \n",
        b"\xff\xfe",
        b"two words",
        b"two\nlines",
        "schlüssel".encode(),
        b"a\x00b",
        b"{",
        b"{}",
        b'{"token": 1}',
        b'{"token": ""}',
        b'{"token": "a b"}',
        b'{"token": "a", "expires_at": 1}',
        b'{"token": "a", "expires_at": "2020-01-01T00:00:00Z"}',
        b'{"a":' * 100_000,
    ],
)
def test_what_is_no_key_is_refused_without_repeating_it(printed):
    with pytest.raises(AccountError) as caught:
        parse_printed(printed, NOW)
    assert caught.value.code == "credential_command_failed"
    for word in printed.decode("utf-8", "replace").split()[:2]:
        assert word.strip('{}":,') == "" or word not in caught.value.text


# Running


async def test_a_program_gets_its_arguments_as_they_stand():
    words = ("$HOME", "a b", "*", "; exit 1")
    printed = await run("import sys; print('|'.join(sys.argv[1:]))", *words)
    assert printed.decode().strip() == "|".join(words)


@posix
async def test_a_shell_is_used_only_when_asked_for():
    asked = CredentialCommand(command=("echo $((6*7))",), shell=True)  # noqa: S604 - what is tested
    assert (await run_program(dict(os.environ))(asked)).strip() == b"42"


async def test_a_program_gets_only_the_environment_that_is_given():
    code = "import os; print(os.environ.get('OTHER_SECRET', 'none'), os.environ.get('MINE'))"
    env = {k: v for k, v in os.environ.items() if k != "OTHER_SECRET"} | {"MINE": "yes"}
    os.environ["OTHER_SECRET"] = "x"
    try:
        printed = await run(code, env=env)
    finally:
        del os.environ["OTHER_SECRET"]
    assert printed.split() == [b"none", b"yes"]


async def test_a_program_reads_nothing_and_its_errors_are_not_shown():
    code = "import sys; sys.stderr.write('secret words'); print(len(sys.stdin.read()))"
    assert (await run(code)).strip() == b"0"


@pytest.mark.parametrize(
    ("code", "more", "words"),
    [
        ("raise SystemExit(3)", {}, "exit code 3"),
        ("import time; time.sleep(60)", {"timeout_s": 0.3}, "longer than 0.3 s"),
        ("print('a' * 300000)", {}, "more than 256 KB"),
        ("while True: print('a' * 1000, flush=True)", {}, "more than 256 KB"),
    ],
)
async def test_failures_are_told(code, more, words):
    with pytest.raises(AccountError, match=words):
        await run(code, **more)


async def test_a_program_that_is_not_there_is_told():
    with pytest.raises(AccountError, match="no-such-program"):
        await run_program({})(CredentialCommand(command=("/no-such-program",)))


@posix
async def test_nothing_of_a_slow_program_is_left_behind(tmp_path):
    file = tmp_path / "pids"
    code = (
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen(['sleep', '60'])\n"
        f"open({str(file)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}')\n"
        "time.sleep(60)"
    )
    with pytest.raises(AccountError):
        await run(code, timeout_s=1.5)
    for pid in file.read_text().split():
        await until(lambda pid=pid: not is_running(int(pid)))


async def until(true):
    """Wait for what other processes do, up to five seconds."""
    end = time.monotonic() + 5
    for _ in range(1_000):
        if true() or time.monotonic() > end:
            break
        await asyncio.sleep(0.01)
    assert true()


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0] != "Z"


@posix
async def test_leaving_ends_the_program(tmp_path):
    file = tmp_path / "pid"
    code = f"import os, time; open({str(file)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    task = asyncio.ensure_future(run(code))
    await until(lambda: file.exists() and file.read_text())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not is_running(int(file.read_text()))


# Keeping


class Desk:
    """Credentials over scripted programs; each run takes the next answer."""

    def __init__(self, *printed):
        self.printed = list(printed)
        self.runs = 0
        self.go = asyncio.Event()
        self.go.set()
        self.clock = Clock()
        self.kept = CommandCredentials(self.run, self.clock)

    async def run(self, _command):
        self.runs += 1
        await self.go.wait()
        answer = self.printed.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def get(self, account_id="a/a-1", **more):
        return (await self.kept.get(account_id, command("", **more))).secret


async def test_what_was_printed_is_kept_for_its_life():
    desk = Desk(b"one", b"two")
    assert await desk.get(lifetime_s=100) == "one"
    desk.clock.advance(99)
    assert await desk.get(lifetime_s=100) == "one"
    desk.clock.advance(1)
    assert await desk.get(lifetime_s=100) == "two"


async def test_a_printed_expiry_counts_with_a_minute_to_spare():
    desk = Desk(b'{"token": "one", "expires_in": 1000}', b"two")
    assert await desk.get(lifetime_s=5) == "one"
    desk.clock.advance(939)
    assert await desk.get(lifetime_s=5) == "one"
    desk.clock.advance(1)
    assert await desk.get(lifetime_s=5) == "two"


async def test_one_run_serves_all_who_wait():
    desk = Desk(b"one")
    desk.go.clear()
    asked = [asyncio.ensure_future(desk.get()) for _ in range(200)]
    await until(lambda: desk.runs)
    asked[0].cancel()
    desk.go.set()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert set(answers[1:]) == {"one"}
    assert desk.runs == 1


async def test_what_another_program_printed_is_not_used():
    desk = Desk(b"one", b"two", b"three")
    assert await desk.get(timeout_s=5) == "one"
    assert await desk.get(timeout_s=6) == "two"
    assert await desk.get(timeout_s=6) == "two"
    assert await desk.get(timeout_s=5) == "three"


async def test_program_that_was_replaced_while_it_ran_is_not_waited_for():
    desk = Desk(b"old", b"new", b"newest")
    desk.go.clear()
    old = asyncio.ensure_future(desk.get(timeout_s=5))
    await until(lambda: desk.runs == 1)
    new = asyncio.ensure_future(desk.get(timeout_s=6))
    await until(lambda: desk.runs == 2)
    desk.go.set()
    assert [await old, await new] == ["old", "new"]


async def test_each_caller_gets_an_error_of_its_own():
    desk = Desk(AccountError("It failed.", code="credential_command_failed", hint="Look."))
    caught = []
    for _ in range(3):
        with pytest.raises(AccountError) as one:
            await desk.get()
        caught.append(one.value)
    assert len({id(error) for error in caught}) == 3
    assert {(e.message, e.code, e.hint) for e in caught} == {
        ("It failed.", "credential_command_failed", "Look.")
    }


async def test_accounts_are_kept_apart():
    desk = Desk(b"one", b"two")
    assert [await desk.get("a/a-1"), await desk.get("b/b-1"), await desk.get("a/a-1")] == [
        "one",
        "two",
        "one",
    ]


async def test_a_refused_key_makes_the_next_call_run_the_program_again():
    desk = Desk(b"one", b"two")
    await desk.get()
    desk.kept.rejected("a/a-1", "another")
    assert await desk.get() == "one"
    desk.kept.rejected("a/a-1", "one")
    assert await desk.get() == "two"


async def test_a_failure_is_told_for_a_while_without_another_run():
    desk = Desk(AccountError("It failed."), b"two")
    with pytest.raises(AccountError):
        await desk.get()
    desk.clock.advance(29)
    with pytest.raises(AccountError, match="It failed"):
        await desk.get()
    assert desk.kept.trouble("a/a-1") == "It failed."
    assert desk.runs == 1
    desk.clock.advance(1)
    assert await desk.get() == "two"
    assert desk.kept.trouble("a/a-1") == ""


async def test_new_settings_forget_failures_and_accounts_that_are_gone():
    desk = Desk(b"one", b"two", AccountError("x"), b"three", b"four")
    await desk.get("a/a-1")
    await desk.get("b/b-1")
    with pytest.raises(AccountError):
        await desk.get("c/c-1")
    desk.kept.keep_only(frozenset({"a/a-1", "c/c-1"}))
    assert [await desk.get(f"{n}/{n}-1") for n in "abc"] == ["one", "three", "four"]


async def test_no_secret_is_logged(caplog):
    desk = Desk(b"canary-key-7", b'{"token": "canary token"}')
    await desk.get("a/a-1")
    with pytest.raises(AccountError) as caught:
        await desk.get("b/b-1")
    assert "canary" not in caplog.text + caught.value.text
