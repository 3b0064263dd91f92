import pytest

from app.cli.terminal import (
    NotRunning,
    advice,
    exit_code,
    render_error,
    render_span,
    show_error,
    show_json,
    show_markdown,
    show_table,
    show_verdict,
)
from app.errors import AppError, ConfigError, ConfigProblem


def test_error_is_message_and_hint_on_standard_error(capsys):
    assert show_error(AppError("It broke.", hint="Mend it.", code="of_another")) == 1
    assert capsys.readouterr() == ("", "error: It broke.\nhint: Mend it.\n")


def test_error_without_a_hint_or_an_entry_is_one_line():
    assert render_error(AppError("It broke.", code="of_another_program")) == "error: It broke."


def test_error_names_the_command_that_shows_its_entry():
    assert render_error(NotRunning()).splitlines()[-1] == "help: dragoman help not_running"


def test_advice_of_a_check_names_that_command_too():
    assert advice(NotRunning()) == "`dragoman start` starts it. Help: `dragoman help not_running`"
    assert advice(AppError("It broke.", code="not_running")) == "Help: `dragoman help not_running`"
    assert advice(AppError("It broke.", hint="Mend it.", code="of_another")) == "Mend it."


def test_markdown_is_piped_as_it_is_written(capsys):
    show_markdown("# A\n\n| `b` | c |\n|---|---|\n| 1 | 2 |\n")
    assert capsys.readouterr().out == "# A\n\n| `b` | c |\n|---|---|\n| 1 | 2 |\n"


def test_markdown_is_laid_out_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    show_markdown("# Title\n\nSome *words*, see [keys](keys.md).\n\n| a |\n|---|\n| 1 |\n")
    out = capsys.readouterr().out
    assert "Title" in out
    assert "#" not in out
    assert "|---|" not in out
    assert "keys.md" in out


def test_not_running_has_an_exit_code_of_its_own():
    assert exit_code(NotRunning()) == 3
    assert exit_code(ConfigError([ConfigProblem("f", 1, "k", "wrong")])) == 1


def test_piped_table_holds_every_cell_whole_and_no_escape(capsys):
    long = "x" * 500
    show_table(("NAME", "WHY"), [("a", long), ("b", "")])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines] == [["NAME", "WHY"], ["a", long], ["b"]]
    assert all(line == line.rstrip() for line in lines)


def test_column_without_content_is_left_out(capsys):
    show_table(("NAME", "WHY"), [("a", ""), ("b", "")])
    assert "WHY" not in capsys.readouterr().out


def test_text_of_others_is_no_markup(capsys):
    show_table(("NAME",), [("[red]a[/red] :smile:",)])
    assert "[red]a[/red] :smile:" in capsys.readouterr().out


def test_verdict_can_be_read_without_colour(capsys):
    show_verdict("failed", "The port is taken.", "Take another.")
    assert capsys.readouterr().out == "failed   The port is taken.\n         Take another.\n"


def test_json_is_indented(capsys):
    show_json({"a": [1]})
    assert capsys.readouterr().out == '{\n  "a": [\n    1\n  ]\n}\n'


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (-5, "0 s"),
        (59.4, "59 s"),
        (61, "1 min 1 s"),
        (3_600, "1 h"),
        (7_500, "2 h 5 min"),
        (90_061, "1 d 1 h"),
    ],
)
def test_span_is_shown_in_two_units(seconds, text):
    assert render_span(seconds) == text
