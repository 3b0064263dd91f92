import json

TRACE = {
    "asked": "gpt-5",
    "models": ["claude-x", "gpt-5, reasoning low"],
    "rule": "long",
    "rules": [
        {"name": "first", "matched": False, "why": "does not hold: model is z"},
        {"name": "long", "matched": True, "why": ""},
    ],
    "notes": ["long matched"],
    "candidates": [
        {
            "account": "anthropic/work",
            "model": "claude-x",
            "dialect": "anthropic",
            "step": 0,
            "why": "family of anthropic",
        }
    ],
    "left_out": [{"account": "openai/home", "why": "busy"}],
    "error": "",
}
PATH = "POST /admin/route/explain"


def asked(fake):
    return next(body for method, path, _, body in fake.asked if f"{method} {path}" == PATH)


def test_without_an_instance_it_says_how_to_start_one(dragoman):
    code, _, err = dragoman("route", "--model", "gpt-5")
    assert code == 3
    assert "dragoman start" in err


def test_every_option_becomes_part_of_the_question(dragoman, fake):
    fake.answers[PATH] = TRACE
    words = (
        *("--model", "gpt-5(high)", "--tokens", "9", "--path", "/v1/messages", "--stream"),
        *("--thinking", "high", "--tool", "a", "--tool", "b", "--no-images", "--client", "claude"),
        *("--key", "work", "--header", "X-Team: a:b", "--explain"),
    )
    assert dragoman("route", *words).code == 0
    body = asked(fake)
    assert (body if isinstance(body, dict) else json.loads(body)) == {
        "model": "gpt-5(high)",
        "tokens": 9,
        "path": "/v1/messages",
        "stream": True,
        "thinking": "high",
        "tools": ["a", "b"],
        "images": False,
        "client": "claude",
        "key": "work",
        "headers": {"X-Team": "a:b"},
    }


def test_a_request_is_sent_as_it_stands_in_its_file(dragoman, fake, tmp_path):
    fake.answers[PATH] = TRACE
    file = tmp_path / "request.json"
    file.write_text('{"model": "m", "messages": []}')
    assert dragoman("route", str(file)).out == "gpt-5 (long): anthropic/work, claude-x\n"
    body = asked(fake)
    assert (body if isinstance(body, dict) else json.loads(body)) == {
        "request": {"model": "m", "messages": []}
    }


def test_the_explanation_shows_rules_accounts_and_who_is_left_out(dragoman, fake):
    fake.answers[PATH] = TRACE
    out = dragoman("route", "--explain", "--model", "gpt-5").out
    for words in (
        "Tried:      claude-x, then gpt-5, reasoning low",
        "does not hold: model is z",
        "- long matched",
        "family of anthropic",
        "openai/home  busy",
    ):
        assert words in out


def test_a_call_that_is_not_served_is_an_exit_code(dragoman, fake):
    fake.answers[PATH] = TRACE | {"candidates": [], "error": "No account serves it."}
    plain = dragoman("route", "--model", "gpt-5")
    assert (plain.code, plain.out) == (1, "gpt-5 (long): No account serves it.\n")
    assert "Answer:     No account serves it." in dragoman("route", "--explain").out


def test_scripts_get_json(dragoman, fake):
    fake.answers[PATH] = TRACE
    assert json.loads(dragoman("route", "--model", "x", "--json").out) == TRACE


def test_files_and_fields_that_are_none_are_refused_before_asking(dragoman, fake, tmp_path):
    bad = tmp_path / "bad.json"
    bad.write_text("{")
    for words in ((str(bad),), (str(tmp_path / "none.json"),), ("--header", "no colon")):
        code, _, err = dragoman("route", *words)
        assert code == 1
        assert err.startswith("error: ")
    assert all(path != "/admin/route/explain" for _, path, _, _ in fake.asked)
