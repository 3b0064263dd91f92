import time

import msgspec

from tests.cli.fake_instance import HEALTH, account, provider


def test_nothing_runs_is_exit_code_three(dragoman):
    assert dragoman("status") == (
        3,
        "",
        "error: Dragoman does not run.\nhint: `dragoman start` starts it.\nhelp: dragoman help not_running\n",
    )


def test_nothing_runs_can_be_read_by_a_script(dragoman):
    code, out, err = dragoman("status", "--json")
    assert (code, msgspec.json.decode(out), err) == (3, {"running": False}, "")


def test_running_instance_shows_address_process_and_demo(dragoman, fake):
    code, out, _ = dragoman("status")
    assert code == 0
    assert f"runs at http://localhost:8317 (process {fake.record.pid}, for 1 h 2 min)" in out
    assert "No account yet: the demo models answer." in out
    assert "Settings: config.yaml\n" in out


def test_accounts_are_shown_with_state_and_reason(dragoman, fake):
    until = time.time() + 3_600.4
    fake.answers["GET /v1/health"] = HEALTH | {
        "providers": [
            provider("openai", account("openai/work", "cooling", "limit reached", until)),
            provider("gemini", account("gemini/one")),
        ]
    }
    lines = dragoman("status").out.splitlines()
    row = next(line for line in lines if line.startswith("openai/work"))
    assert "cooling" in row
    assert "in 1 h" in row
    assert row.endswith("limit reached")
    assert any(line.split() == ["gemini/one", "ready"] for line in lines)


def test_what_is_left_since_when_and_warnings_are_shown(dragoman, fake):
    now = time.time()
    spent = account("codex/codex-1", "cooling", "5-hour window used up", now + 7_200.4)
    spent |= {
        "since": now - 600,
        "quota": {"window": "5h", "left_percent": 0.0, "resets_at": now + 7_200.4},
    }
    good = account("claude/claude-1") | {
        "quota": {"window": "7d_opus", "left_percent": 37.4, "resets_at": None},
        "warning": "It could not be renewed: no network.",
    }
    fake.answers["GET /v1/health"] = HEALTH | {
        "providers": [provider("codex", spent), provider("claude", good)]
    }
    out = dragoman("status").out
    row = next(line for line in out.splitlines() if line.startswith("codex/codex-1"))
    assert "10 min ago" in row
    assert "0 % of 5 hours, new in 2 h" in row
    assert "37 % of 7d opus" in out
    assert "Warning: claude/claude-1: It could not be renewed: no network.\n" in out


def test_faults_and_warnings_are_shown(dragoman, fake):
    fake.answers["GET /v1/health"] = HEALTH | {
        "keys": "the disk is full",
        "config": {
            "path": "/etc/d.yaml",
            "why": "option",
            "problems": ["server.port: expected a whole number"],
            "warnings": ["a key stands in the file"],
        },
    }
    out = dragoman("status").out
    assert "Settings: /etc/d.yaml (by --config)" in out
    assert "Problem: server.port: expected a whole number" in out
    assert "Problem: keys: the disk is full" in out
    assert "Warning: a key stands in the file" in out


def test_json_is_the_health_with_pid_and_port(dragoman, fake):
    code, out, _ = dragoman("status", "--json")
    expected = {"running": True, "pid": fake.record.pid, "port": fake.port, **HEALTH, "agents": []}
    assert (code, msgspec.json.decode(out)) == (0, expected)
    assert fake.record.token not in out


def test_instance_that_fails_is_exit_code_one(dragoman, fake):
    fake.answers["GET /v1/health"] = (500, {"error": {"message": "Dragoman failed."}})
    assert dragoman("status") == (1, "", "error: Dragoman failed.\nhelp: dragoman help http_500\n")


def connect(dragoman, *words):
    assert dragoman("connect", *words, "--yes").code == 0


def agent_line(out, name="claude"):
    return next(line for line in out.splitlines() if line.startswith(name))


def test_connected_agents_are_shown(user, fake, dragoman):
    assert "AGENT" not in dragoman("status").out
    connect(dragoman, "claude")
    assert agent_line(dragoman("status").out).split() == [
        *("claude", "Claude", "Code"),
        "connected",
    ]
    (agent,) = msgspec.json.decode(dragoman("status", "--json").out)["agents"]
    assert (agent["name"], agent["outdated"]) == ("claude", False)
    assert agent["files"][0]["state"] == "written"


def test_what_somebody_else_changed_is_shown_and_left(user, fake, dragoman):
    connect(dragoman, "claude")
    theirs = user.settings.read_text().replace(f"127.0.0.1:{fake.port}", "gateway.example")
    user.settings.write_text(theirs)
    line = agent_line(dragoman("status").out)
    assert "connected, but overridden: env.ANTHROPIC_BASE_URL" in line
    assert user.settings.read_text() == theirs


def test_another_address_is_shown(user, fake, dragoman):
    connect(dragoman, "claude")
    manifest = user.home.data / "agents" / "manifest.json"
    manifest.write_text(manifest.read_text().replace(f"127.0.0.1:{fake.port}", "127.0.0.1:1"))
    assert "connect again to update it" in agent_line(dragoman("status").out)


def test_a_damaged_list_of_agents_is_a_problem_and_no_failure(user, fake, dragoman):
    connect(dragoman, "claude")
    (user.home.data / "agents" / "manifest.json").write_text("{")
    code, out, _ = dragoman("status")
    assert code == 0
    assert "Problem: agents: " in out


def test_agents_that_nothing_answers_are_named(user, fake, dragoman):
    connect(dragoman, "claude")
    fake.close()
    code, _, err = dragoman("status")
    assert code == 3
    assert "Claude Code points here" in err
    assert "dragoman disconnect --all" in err


def test_budgets_are_shown_with_what_follows(dragoman, fake):
    stopped = {
        "text": "Budget all: $5.00 of $5.00 used today (100%).",
        "level": "stop",
        "resets_at": time.time() + 7_200.4,
    }
    warned = {"text": "Budget ci: 8 of 10 tokens used today (80%).", "level": "warn"}
    fake.answers["GET /v1/health"] = HEALTH | {"budgets": [stopped, warned | {"resets_at": 0.0}]}
    lines = dragoman("status").out.splitlines()
    assert f"{stopped['text']} Calls are refused; new in 2 h." in lines
    assert warned["text"] in lines


def part(kind, title, state="ready", **more):
    return {
        "kind": kind,
        "name": kind,
        "title": title,
        "state": state,
        "reason": "",
        "since": 1.0,
        "uptime_s": 65.0,
        "memory_bytes": 64 << 20,
        "until": None,
        "pid": 1,
        "restarts": 0,
    } | more


def test_parts_are_shown_with_memory_time_and_next_try(dragoman, fake):
    waiting = {"uptime_s": None, "memory_bytes": None, "reason": "It ended.", "until": 1e11}
    parts = [
        part("router", "Router"),
        part("service", "WebAI", "waiting", **waiting),
        part("service", "Other", "off"),
    ]
    fake.answers["GET /v1/health"] = HEALTH | {"parts": parts, "processes": 1}
    out = dragoman("status").out
    (router,) = [line for line in out.splitlines() if line.startswith("Router")]
    assert router.split() == ["Router", "ready", "1", "min", "5", "s", "64", "MB"]
    (webai,) = [line for line in out.splitlines() if line.startswith("WebAI")]
    assert webai.startswith("WebAI")
    assert "in " in webai
    assert webai.endswith("It ended.")
    assert "Other" not in out
