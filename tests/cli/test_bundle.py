import asyncio
import io
import logging
import re
import zipfile

import msgspec
import pytest

from app import log
from app.__main__ import main
from app.cli import bundle, doctor
from app.cli.bundle import Anonymous, Member
from app.cli.checks import Check
from app.configfile import load_file, locate
from tests.clients.corpus import Bench
from tests.server.running import CHAT, Upstream, running, whole

CANARY = "canary7"
"""Stands in everything that must not come out."""
SETTINGS = f"""
providers:
  fake:
    kind: compatible
    dialect: openai_chat
    base_url: BASE/v1
    headers: {{X-Custom: "header-{CANARY}-1", Authorization-Extra: "{CANARY}secret2"}}
    models: [m]
    accounts:
      - {{label: "me-{CANARY}", api_key: "plain{CANARY}key3"}}
      - {{label: second, api_key: "${{SOME_KEY}}"}}
  other:
    kind: compatible
    dialect: openai_chat
    base_url: https://api.example.test/v1
    proxy: http://name:pass{CANARY}@proxy.example.test:3128
    enabled: false
    api_key: "sk-{CANARY}abcdef"
    models: [x]
models:
  rules:
    - name: "my own words {CANARY}"
      when: {{header: {{X-Team: "team-{CANARY}"}}, key: "key-{CANARY}"}}
      then: {{override: {{user: "override-{CANARY}"}}}}
    - {{when: {{model: blocked}}, then: {{reject: "No {CANARY} today."}}}}
logging: {{level: debug}}
"""


@pytest.fixture
def logged(home):
    """Write the log as the program does, whatever the tests' own logging is."""
    remove = log.setup("debug", file=home.log_file)
    yield home.log_file
    remove()
    log.setup("info")()


def unpack(path):
    with zipfile.ZipFile(path) as archive:
        return {name.split("/", 1)[1]: archive.read(name) for name in archive.namelist()}


async def test_nothing_private_comes_out_of_a_program_that_had_much_of_it(
    home, logged, tmp_path, monkeypatch, capsys
):
    """The whole program, with secrets everywhere and a service that repeats what it was sent."""

    async def repeat(writer, body):
        message = f"I do not like {body.decode()} with your key"
        answer = msgspec.json.encode({"error": {"message": message, "type": "invalid"}})
        writer.write(whole(answer, 401))
        await writer.drain()

    user = tmp_path / f"user-{CANARY}"
    user.mkdir()
    monkeypatch.setenv("HOME", str(user))
    monkeypatch.setenv("USERPROFILE", str(user))
    monkeypatch.setenv("SOME_KEY", f"variable-{CANARY}")
    monkeypatch.setenv("DRAGOMAN_UNHEARD", f"value-{CANARY}")
    target = tmp_path / "bundle.zip"
    async with Upstream(repeat) as up:
        settings = SETTINGS.replace("BASE", up.url)
        async with running(tmp_path / "home", settings) as server:
            say = {"messages": [{"role": "user", "content": f"prompt {CANARY} of mine"}]}
            for model in ("m", f"unknown-{CANARY} model", "demo-error-500"):
                await server.post(
                    CHAT, {**say, "model": model}, {"User-Agent": f"agent {CANARY}/1"}
                )
            logging.getLogger("dragoman.gateway").error("it failed: %s", f"prompt {CANARY}")
            logging.getLogger("elsewhere").warning("they said: %s", f"prompt {CANARY}")
            logging.getLogger("dragoman.accounts").warning(
                "the models of fake/me-%s are not known: no network", CANARY
            )
            try:
                raise ValueError(f"input was {CANARY}")
            except ValueError:
                logging.getLogger("dragoman.service").exception("a step failed")
            words = ["doctor", "--bundle", "--yes", "-o", str(target)]
            code = await asyncio.wait_for(asyncio.to_thread(main, words), 60)
    said = capsys.readouterr()
    assert code == 1, said  # the accounts cannot answer
    members = unpack(target)
    listed = said.out.partition("The support bundle holds:\n")[2].partition("Written")[0]
    assert set(members) == {"README.txt", *re.findall(r"^(\S+\.\w+) ", listed, re.MULTILINE)}
    for name, content in members.items():
        assert CANARY.encode() not in content, (name, content.decode())
        assert str(server.port).encode() in content or name != "checks.json"
    log_text = members["errors.log"].decode()
    assert "ERROR gateway: it failed\n" in log_text
    assert "WARNING elsewhere: they said\n" in log_text
    assert "ERROR service: a step failed\n" in log_text
    assert "  | ValueError\n" in log_text
    assert re.search(r"  \| File \S*test_bundle\.py, line \d+\n", log_text)
    assert "of fake/account-" in log_text
    status = msgspec.json.decode(members["status.json"])
    assert {a["account"] for a in status["accounts"]} >= {"fake/account-1", "fake/account-2"}
    shown = msgspec.json.decode(members["settings.json"])["settings"]
    assert shown["providers"]["other"]["proxy"] == "***"
    assert shown["providers"]["other"]["base_url"] == "https://api.example.test/v1"
    assert shown["providers"]["fake"]["accounts"][1]["api_key"] == "${SOME_KEY}"
    assert "DRAGOMAN_UNHEARD" in msgspec.json.decode(members["versions.json"])["variables"]


def test_failed_requests_are_told_in_numbers(fake, dragoman, tmp_path):
    row = {"id": "req_1", "status": 500, "asked": "gpt-5", "error": "x", "session": CANARY}
    rows = [row | {"account": f"codex/{CANARY}"}, row | {"asked": f"write {CANARY}"}]
    fake.answers["GET /admin/requests?failed=1&limit=100"] = {"requests": rows}
    target = tmp_path / "bundle.zip"
    dragoman("doctor", "--bundle", "-o", str(target))
    content = unpack(target)["requests.json"]
    first, second = msgspec.json.decode(content)["requests"]
    assert (first["status"], first["asked"], first["error"]) == (500, "gpt-5", "x")
    assert (first["account"], second["asked"]) == ("codex/account-2", "***")
    assert set(first) == {"account", *bundle._REQUEST_FIELDS}
    assert CANARY.encode() not in content


def answered(monkeypatch, yes):
    monkeypatch.setattr(doctor, "is_terminal", lambda stream: True)
    monkeypatch.setattr("typer.confirm", lambda *_, **__: yes)


def test_contents_are_listed_before_it_is_written_and_a_no_writes_nothing(
    fake, dragoman, tmp_path, monkeypatch
):
    answered(monkeypatch, yes=False)
    target = tmp_path / "b.zip"
    _, out, _ = dragoman("doctor", "--bundle", "-o", str(target))
    assert re.search(r"^versions\.json +\d+ +versions of Dragoman", out, re.MULTILINE)
    assert out.endswith("Nothing was written.\n")
    assert not target.exists()
    answered(monkeypatch, yes=True)
    _, out, _ = dragoman("doctor", "--bundle", "-o", str(target))
    assert out.index("versions.json") < out.index(f"Written: {target}")
    assert target.stat().st_mode & 0o777 == 0o600


def test_json_names_the_file_and_what_is_in_it(fake, dragoman, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answer = msgspec.json.decode(dragoman("doctor", "--bundle", "--json").out)
    assert re.search(r"dragoman-support-\d{8}-\d{6}\.zip$", answer["bundle"])
    assert {row["name"] for row in answer["contents"]} | {"README.txt"} == set(
        unpack(answer["bundle"])
    )


def test_a_file_that_is_there_is_not_written_over(fake, dragoman, tmp_path):
    target = tmp_path / "mine.zip"
    target.write_text("mine")
    code, _, err = dragoman("doctor", "--bundle", "-o", str(target))
    assert code == 1
    assert "There is a file" in err
    assert target.read_text() == "mine"


def test_a_place_that_cannot_be_written_is_said(fake, dragoman, tmp_path):
    (tmp_path / "file").write_text("")
    code, _, err = dragoman("doctor", "--bundle", "-o", str(tmp_path / "file" / "b.zip"))
    assert code == 1
    assert "cannot be written" in err


def test_an_output_is_for_a_bundle_only(fake, dragoman):
    assert dragoman("doctor", "-o", "x.zip").code == 2


def test_settings_that_are_wrong_are_told_and_do_not_keep_it_from_being_packed(
    dragoman, home, tmp_path
):
    home.config.mkdir(parents=True)
    home.config_file.write_text(f"server: {{prot: 1}}\nproviders: {{x: {{api_key: '{CANARY} y'}}}}")
    target = tmp_path / "b.zip"
    assert dragoman("doctor", "--bundle", "-o", str(target)).code == 1
    members = unpack(target)
    wrong = msgspec.json.decode(members["settings.json"])
    assert wrong["settings"] is None
    assert any("server.prot" in problem for problem in wrong["problems"])
    assert msgspec.json.decode(members["status.json"]) == {"running": False}
    assert not any(CANARY.encode() in content for content in members.values())


def test_an_instance_that_fails_is_left_out(fake, dragoman, tmp_path):
    fake.answers["GET /v1/health"] = (500, {"error": {"message": "Broken."}})
    target = tmp_path / "b.zip"
    assert dragoman("doctor", "--bundle", "-o", str(target)).code == 1
    assert msgspec.json.decode(unpack(target)["status.json"]) == {"running": False}


def test_names_are_the_same_everywhere_and_common_words_stay():
    who = Anonymous("/home/user", "Ada", "box.example.test")
    assert who.account("codex/work") == who.account("codex/work") == "codex/account-1"
    text = "codex/work of Ada at box: /home/user/x, ada.l@example.org, Adagio, box.example.test"
    assert who.text(text) == "codex/account-1 of <user> at <host>: ~/x, <e-mail>, Adagio, <host>"
    assert Anonymous("/root", "root", "localhost").text("root localhost") == "root localhost"
    assert who.account("") == ""


def test_secrets_in_keys_and_values_of_json_are_cut_out():
    who = Anonymous("/home/user", "", "")
    shown = msgspec.json.decode(who.json({"a": ["sk-ant-123456789"], "sk-ant-123456789": 1}))
    assert shown == {"a": ["***"], "***": 1}


def test_free_texts_of_the_settings_are_left_out(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text(
        "models:\n"
        "  aliases: {fast: gpt-5-mini, 'my words': some model of mine}\n"
        "  patterns: [{match: 'gemini-.*-x$', provider: gemini}]\n"
    )
    file.chmod(0o600)
    env = {"DRAGOMAN_HOME": str(tmp_path), "DRAGOMAN_CONFIG": str(file)}
    shown = bundle.shown_settings(load_file(locate(None, env), env))["models"]
    assert shown["aliases"] == {"fast": "gpt-5-mini", "my words": "***"}
    assert shown["patterns"][0]["match"] == "gemini-.*-x$"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://u:p@host.test:8/v1?key=x#y", "https://host.test:8/v1"),
        ("http://127.0.0.1:9/v1", "http://127.0.0.1:9/v1"),
        ("nonsense", "***"),
    ],
)
def test_addresses_lose_who_signs_in(url, shown):
    assert bundle._address(url) == shown


def test_what_services_said_to_accounts_is_left_out_of_the_checks():
    who = Anonymous("/home/user", "", "")
    checks = [
        Check("account codex/me", "failed", "The account codex/me gave no answer (m): No x.", "h"),
        Check("account codex/me", "ok", "The account codex/me answered: 1 token."),
        Check("demo", "failed", "The demo: gone"),
    ]
    rows = msgspec.json.decode(bundle.checks_member(who, checks).content)
    assert [row["text"] for row in rows] == [
        "The account codex/account-1 gave no answer (m)",
        "The account codex/account-1 answered: 1 token.",
        "The demo: gone",
    ]
    assert rows[0]["name"] == "account codex/account-1"


def test_lines_of_a_log_in_json_are_read_too(tmp_path):
    file = tmp_path / "log"
    lines = [
        {"time": "t1Z", "level": "error", "logger": "dragoman.gateway", "message": "a: secret"},
        {"time": "t2Z", "level": "info", "logger": "dragoman.gateway", "message": "b"},
        {"time": "t3Z", "level": "warning", "logger": "dragoman.store", "message": "c: d"},
    ]
    file.write_bytes(b"\n".join(msgspec.json.encode(line) for line in lines) + b"\n{\n[1]\n")
    text = bundle.log_member(Anonymous("/h", "", ""), file, ["codex"]).content.decode()
    assert text == "t1Z ERROR dragoman.gateway: a\nt3Z WARNING dragoman.store: c: d\n"


def test_agents_are_told_without_what_stands_in_their_files(tmp_path):
    bench = Bench(tmp_path)
    bench.connect("claude", {"main": "m"})
    who = Anonymous(str(bench.home), "", "")
    member = bundle.agents_member(who, bench.known)
    (agent,) = msgspec.json.decode(member.content)["agents"]
    assert agent["files"] == [{"path": "~/.claude/settings.json", "state": "written", "places": []}]
    (bench.data / "manifest.json").write_text("{")
    assert "problem" in msgspec.json.decode(bundle.agents_member(who, bench.known).content)


def test_the_archive_lists_itself():
    packed = bundle.pack([Member("a.json", "what it is", b"{}")], now=lambda: 1.8e9)
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        assert archive.namelist() == ["dragoman-support/README.txt", "dragoman-support/a.json"]
        assert b"a.json: what it is" in archive.read("dragoman-support/README.txt")
