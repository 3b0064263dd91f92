import os
import shutil
import socket
import subprocess

import pytest

from app.clients.shell_scripts import SHELLS, quoted, render_script

WORDS = {
    (): ["connect", "config", "--help"],
    ("config",): ["check", "path"],
    ("connect",): ["claude", "codex", "--all"],
}
PLAIN = {"bash": ["--norc", "--noprofile"], "zsh": ["-f"], "fish": ["--no-config"]}
SETS = {"bash": "export {}={}", "zsh": "export {}={}", "fish": "set -gx {} {}"}
NAMES = (
    *("OPENAI_BASE_URL", "OPENAI_API_BASE", "OPENAI_API_KEY", "ANTHROPIC_BASE_URL"),
    *("ANTHROPIC_AUTH_TOKEN", "GOOGLE_GEMINI_BASE_URL", "GEMINI_API_KEY", "COPILOT_MODEL"),
    "DRAGOMAN_SHELL",
)
SHOW = 'env | grep -E "^({})=" | sort; echo "=="'.format("|".join(NAMES))


@pytest.fixture(params=PLAIN)
def shell(request):
    if shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    return request.param


@pytest.fixture
def listening():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def stage(tmp_path, listening):
    """A folder with what a running instance leaves, and one with what connecting Copilot leaves."""
    folder = tmp_path / "it's here"
    extra = folder / "env"
    extra.mkdir(parents=True)
    (extra / "copilot.env").write_text("# >>> dragoman >>>\nCOPILOT_MODEL='my model'\n# <<<\n")
    (folder / "instance.json").write_text(record(listening))
    return folder


def record(port, pid=None):
    return (
        f'{{"pid":{pid or os.getpid()},"port":{port},"token":"t","started_at":1.5,"version":"1"}}'
    )


def run(shell, stage, body, env=None):
    """Read the script in a real shell, run lines after it, and return the shown environments."""
    script = stage / f"script.{shell}"
    text = render_script(shell, str(stage / "instance.json"), str(stage / "env"), WORDS, "dragoman")
    script.write_text(text)
    lines = [f"source {quoted(shell, str(script))}", *body]
    base = {"PATH": os.environ["PATH"], "HOME": str(stage), "TERM": "dumb", **(env or {})}
    done = subprocess.run(
        [shutil.which(shell), *PLAIN[shell], "-c", "\n".join(lines)],
        env=base,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stderr == ""
    parts = done.stdout.split("==\n")[:-1]
    return [dict(line.split("=", 1) for line in part.splitlines()) for part in parts]


def test_variables_are_set_while_dragoman_answers(shell, stage, listening):
    (shown,) = run(shell, stage, [SHOW])
    base = f"http://127.0.0.1:{listening}"
    assert shown.pop("DRAGOMAN_SHELL").split()[0] == str(listening)
    assert shown == {
        "OPENAI_BASE_URL": f"{base}/v1",
        "OPENAI_API_BASE": f"{base}/v1",
        "OPENAI_API_KEY": "dragoman",
        "ANTHROPIC_BASE_URL": base,
        "ANTHROPIC_AUTH_TOKEN": "dragoman",
        "GOOGLE_GEMINI_BASE_URL": base,
        "GEMINI_API_KEY": "dragoman",
        "COPILOT_MODEL": "my model",
    }


def test_they_go_when_it_stops_and_come_when_it_starts(shell, stage):
    file = quoted(shell, str(stage / "instance.json"))
    away = quoted(shell, str(stage / "away"))
    body = [SHOW, f"mv {file} {away}", "__dragoman_check", SHOW]
    body += [f"mv {away} {file}", "__dragoman_check", SHOW]
    first, second, third = run(shell, stage, body)
    assert len(first) == 9
    assert second == {}
    assert third == first


def test_a_port_that_changed_is_followed(shell, stage, listening):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        (stage / "next").write_text(record(port))
        move = (
            f"cp {quoted(shell, str(stage / 'next'))} {quoted(shell, str(stage / 'instance.json'))}"
        )
        _, shown = run(shell, stage, [SHOW, move, "__dragoman_check", SHOW])
    assert shown["OPENAI_BASE_URL"] == f"http://127.0.0.1:{port}/v1"
    assert str(listening) not in " ".join(shown.values())


@pytest.mark.parametrize("left", ["dead process", "nothing listens", "no file", "damaged"])
def test_what_a_killed_instance_left_sets_nothing(shell, stage, left):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    file = stage / "instance.json"
    if left == "dead process":
        ended = subprocess.Popen(["true"])
        ended.wait()
        file.write_text(record(port, ended.pid))
    elif left == "nothing listens":
        if shell == "fish":
            pytest.skip("fish has no sockets; it looks at the process only")
        file.write_text(record(port))
    elif left == "no file":
        file.unlink()
    else:
        file.write_text('{"pid":')
    assert run(shell, stage, [SHOW]) == [{}]


def test_variables_of_the_user_are_never_touched(shell, stage):
    mine = {"OPENAI_BASE_URL": "https://mine.example/v1", "ANTHROPIC_API_KEY": "sk-mine"}
    file = quoted(shell, str(stage / "instance.json"))
    first, second = run(shell, stage, [SHOW, f"rm {file}", "__dragoman_check", SHOW], mine)
    assert first["OPENAI_BASE_URL"] == "https://mine.example/v1"
    assert "OPENAI_API_KEY" not in first  # no placeholder for a server that is not ours
    assert "ANTHROPIC_BASE_URL" in first
    assert "ANTHROPIC_AUTH_TOKEN" not in first  # the user's own key is sent
    assert second == {"OPENAI_BASE_URL": "https://mine.example/v1"}


def test_a_variable_that_the_user_set_meanwhile_stays(shell, stage):
    file = quoted(shell, str(stage / "instance.json"))
    sets = SETS[shell].format("ANTHROPIC_BASE_URL", "https://mine.example")
    (shown,) = run(shell, stage, [sets, f"rm {file}", "__dragoman_check", SHOW])
    assert shown == {"ANTHROPIC_BASE_URL": "https://mine.example"}


def test_a_shell_inside_of_a_shell_unsets_what_it_inherited(shell, stage, listening):
    inherited = {
        "DRAGOMAN_SHELL": f"{listening} OPENAI_BASE_URL",
        "OPENAI_BASE_URL": f"http://127.0.0.1:{listening}/v1",
        "OPENAI_API_KEY": "dragoman",
    }
    (stage / "instance.json").unlink()
    (shown,) = run(shell, stage, [SHOW], inherited)
    assert shown == {"OPENAI_API_KEY": "dragoman"}  # not ours, as the list of names says


def test_the_status_of_the_last_command_is_kept(shell, stage):
    status = "$status" if shell == "fish" else "$?"
    lines = ["false", "__dragoman_check", f"echo A={status}", 'echo "=="']
    (shown,) = run(shell, stage, lines)
    assert shown == {"A": "1"}


def test_the_token_of_the_instance_reaches_no_environment(shell, stage):
    text = (stage / "instance.json").read_text().replace('"token":"t"', '"token":"hidden-token"')
    (stage / "instance.json").write_text(text)
    script = [f"env | grep hidden-token && {SETS[shell].format('GEMINI_API_KEY', 'leaked')}; true"]
    (shown,) = run(shell, stage, [*script, SHOW])
    assert shown["GEMINI_API_KEY"] == "dragoman"


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("dragoman co", {"connect", "config"}),
        ("dragoman config p", {"path"}),
        ("dragoman connect cl", {"claude"}),
        ("dragoman connect claude --a", {"--all"}),
    ],
)
def test_commands_are_completed(shell, stage, line, found):
    words = line.split()
    if shell == "fish":
        body = [f"complete -C '{line}' | sed 's/^/W=/; s/\\t.*//'"]
    elif shell == "bash":
        body = [
            f"COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}",
            '__dragoman_complete; for w in "${COMPREPLY[@]}"; do echo "W=$w"; done',
        ]
    else:  # what compadd is given; the completion system itself filters
        body = [
            f"words=({line}); CURRENT={len(words)}",
            'compadd() { shift; for w in "$@"; do [[ $w == ${words[CURRENT]}* ]] && echo "W=$w"; done }',
            "_files() { }; _dragoman; true",
        ]
    script = stage / f"complete.{shell}"
    text = render_script(shell, str(stage / "none"), str(stage / "env"), WORDS, "k")
    script.write_text("\n".join([text, *body]))
    done = subprocess.run(
        [shutil.which(shell), *PLAIN[shell], str(script)],
        env={"PATH": os.environ["PATH"], "HOME": str(stage), "TERM": "dumb"},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
        cwd=stage / "env",
    )
    assert {line.removeprefix("W=") for line in done.stdout.splitlines()} == found


def test_the_look_at_a_prompt_takes_no_time(shell, stage):
    """Each look is far below what a person notices: a program of ours would take 300 ms."""
    count = 200
    loop = {
        "bash": f"for ((i = 0; i < {count}; i++)); do __dragoman_check; done",
        "zsh": f"for ((i = 0; i < {count}; i++)); do __dragoman_check; done",
        "fish": f"for i in (seq {count}); __dragoman_check; end",
    }
    clock = "python3 -c 'import time; print(\"T=%f\" % time.monotonic())'"
    (shown,) = run(shell, stage, [clock.replace("T=", "A="), loop[shell], clock, 'echo "=="'])
    assert (float(shown["T"]) - float(shown["A"])) / count < 0.03


def test_bash_calls_it_before_what_is_called_at_prompts_already(stage):
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    show = ['echo "A=${PROMPT_COMMAND[*]}"', 'echo "=="']
    (shown,) = run("bash", stage, show, {"PROMPT_COMMAND": "mine"})
    assert shown["A"] == "__dragoman_check; mine"
    twice = ["source " + quoted("bash", str(stage / "script.bash")), *show]
    (shown,) = run("bash", stage, twice, {"PROMPT_COMMAND": "mine"})
    assert shown["A"] == "__dragoman_check; mine"


@pytest.mark.parametrize("name", SHELLS)
def test_no_mark_of_the_templates_is_left(name):
    text = render_script(name, "/f", "/e", WORDS, "placeholder")
    assert "placeholder" in text
    for mark in ("@FILE@", "@EXTRA@", "@PAIRS@", "@WORDS@"):
        assert mark not in text


def test_powershell_text_is_balanced_and_quoted():
    """Without a PowerShell here the script is checked as text."""
    text = render_script("powershell", "C:\\It's\\instance.json", "C:\\e", WORDS, "k")
    assert "$global:DragomanFile = 'C:\\It''s\\instance.json'" in text
    bare = []
    for line in text.splitlines():
        code, quote = "", ""
        for letter in line:
            if quote:
                quote = "" if letter == quote else quote
            elif letter in "'\"":
                quote = letter
            elif letter == "#":
                break
            else:
                code += letter
        assert quote == "", line
        bare.append(code)
    whole = "".join(bare)
    for opening, closing in ("{}", "()", "[]"):
        assert whole.count(opening) == whole.count(closing)
    assert "    ' config' = @('check', 'path')" in text


@pytest.mark.skipif(shutil.which("pwsh") is None, reason="pwsh is not installed")
def test_powershell_reads_it(stage, listening):
    script = stage / "script.ps1"
    script.write_text(render_script("powershell", str(stage / "instance.json"), "", WORDS, "k"))
    done = subprocess.run(
        [
            "pwsh",
            "-NoProfile",
            "-Command",
            f". '{quoted('powershell', str(script))[1:-1]}'; $env:OPENAI_BASE_URL",
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == f"http://127.0.0.1:{listening}/v1"
