import time

import msgspec


def window(name="5h", **changes):
    return {
        "name": name,
        "used_percent": 75.0,
        "left_percent": 25.0,
        "exhausted": False,
        "resets_at": 1.0,
        "resets_in_s": 7_380,
        "length_s": 18_000,
        "left": None,
        "limit": None,
        "models": [],
        "runs_out_at": None,
        "read_at": 1.0,
        "age_s": 90,
        "source": "headers",
    } | changes


def row(name, *windows, plan="", note="", trouble=""):
    return {
        "id": name,
        "provider": name.split("/")[0],
        "label": name.split("/")[1],
        "plan": plan,
        "note": note,
        "trouble": trouble,
        "windows": list(windows),
    }


def test_without_an_instance_it_says_how_to_start_one(dragoman):
    code, _, err = dragoman("quota")
    assert code == 3
    assert "dragoman start" in err


def test_windows_are_shown_with_what_is_left_and_when_it_comes_back(dragoman, fake):
    fake.answers["GET /v1/quota?refresh=1"] = {
        "accounts": [
            row(
                "claude/claude-1",
                window(runs_out_at=time.time() + 3_600.5),
                window("7d_opus", exhausted=True, age_s=1),
                plan="max",
            ),
            row("openai/work", window("requests", left=45.0, limit=60.0, resets_in_s=None)),
        ]
    }
    lines = [line.rstrip() for line in dragoman("quota").out.splitlines()]
    assert len(lines) == 4
    assert lines[1].split() == [
        *("claude/claude-1", "max", "5", "hours", "25", "%", "2", "h", "3", "min"),
        *("used", "up", "in", "1", "h", "1", "min", "30", "s", "ago"),
    ]
    assert lines[2].split() == ["7d", "opus", "used", "up", "2", "h", "3", "min", "now"]
    assert "25 % (45 of 60)" in lines[3]


def test_notes_and_troubles_follow_the_table(dragoman, fake):
    fake.answers["GET /v1/quota?refresh=0"] = {
        "accounts": [
            row("a/a-1", window(left_percent=None), note="Extra usage is on."),
            row("b/b-1", trouble="Asked too often."),
        ]
    }
    out = dragoman("quota", "--no-refresh").out
    assert "unknown" in out
    assert out.endswith("a/a-1: Extra usage is on.\nb/b-1: Asked too often.\n")


def test_nothing_known_is_said(dragoman, fake):
    fake.answers["GET /v1/quota?refresh=1"] = {"accounts": [row("a/a-1")]}
    code, out, err = dragoman("quota")
    assert (code, out) == (0, "")
    assert "No account tells" in err


def test_json_is_the_answer_as_served(dragoman, fake):
    fake.answers["GET /v1/quota?refresh=1"] = {"accounts": [row("a/a-1", window())]}
    out = dragoman("quota", "--json").out
    assert msgspec.json.decode(out) == fake.answers["GET /v1/quota?refresh=1"]
