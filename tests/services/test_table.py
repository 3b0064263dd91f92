from pathlib import Path

import msgspec
import pytest

from app import log
from app.http import HttpReply
from app.services.definition import Place
from app.services.table import TABLE, judge_models, models_request, new_key, webai_entry

COOKIES = {".google.com": {"SID": "s" * 20, "A": "1"}}


def made(tmp_path):
    entry = webai_entry("k3y", lambda: COOKIES)
    return entry.define(Place(tmp_path, Path("/venv/bin/python"), 8406, {"PATH": "/bin"}))


def test_webai_listens_on_loopback_alone_and_gets_its_secrets_on_a_pipe(tmp_path):
    definition = made(tmp_path)
    assert definition.command[:2] == ("/venv/bin/python", "-I")
    assert definition.command[-2:] == ("8406", str(tmp_path))
    shown = " ".join([*definition.command, *definition.environment.values()])
    assert "k3y" not in shown
    assert "ssss" not in shown
    given = msgspec.json.decode(definition.first_line())
    assert given == {"key": "k3y", "cookies": COOKIES}
    assert "s" * 20 not in log.scrub(f"cookie {'s' * 20}")


def test_script_switches_off_what_downloads_or_starts_code():
    text = Path(made(Path("/x")).command[2]).read_text("utf-8")
    assert "--disable-pa-auto-download" in text
    assert 'f"127.0.0.1:{port}"' in text
    assert "sys.addaudithook(refuse_programs)" in text


def test_health_call_goes_past_every_proxy():
    request = models_request("http://127.0.0.1:8406", "k")
    assert (request.url, request.proxy) == ("http://127.0.0.1:8406/v1/models", "direct")
    assert models_request("http://127.0.0.1:1/v1", "").headers == ()


@pytest.mark.parametrize(
    ("reply", "trouble"),
    [
        (HttpReply(200, (), b'{"data":[{"id":"m"}]}'), ""),
        (HttpReply(200, (), b'{"data":[{"id":"p","provider":true}]}'), "lists no models"),
        (HttpReply(200, (), b"<html>"), "no model list"),
        (HttpReply(401, (), b"{}"), "wants a key"),
        (HttpReply(502, (), b""), "status 502"),
    ],
)
def test_health_is_a_list_with_models_in_it(reply, trouble):
    told = judge_models(reply)
    assert trouble in told
    assert bool(told) is bool(trouble)


def test_keys_are_long_and_each_is_another():
    assert len({new_key() for _ in range(10)}) == 10
    assert len(new_key()) == 64


def test_every_row_has_terms_to_agree_to():
    for name, make in TABLE.items():
        entry = make("k", dict)
        assert entry.name == name
        assert entry.consent.text
