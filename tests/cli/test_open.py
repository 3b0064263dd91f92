import webbrowser

import pytest

from app.cli.open import open_dashboard

URL = "http://127.0.0.1:8317/admin#ticket=one-use"


@pytest.fixture
def browser(monkeypatch):
    """A browser that opens, or not; what it was asked to open is kept."""

    class Browser:
        works = True

        def open(self, url):
            self.opened.append(url)
            return self.works

    made = Browser()
    made.opened = []
    monkeypatch.setattr(webbrowser, "open", made.open)
    return made


@pytest.fixture
def run(fake):
    fake.answers["POST /admin/ticket"] = (201, {"url": URL, "expires_in": 30})
    import typer
    from typer.testing import CliRunner

    program = typer.Typer()
    program.command()(open_dashboard)
    return lambda *words: CliRunner().invoke(program, words)


def test_dashboard_opens_in_the_browser_with_a_ticket(run, fake, browser):
    done = run()
    assert (done.exit_code, browser.opened) == (0, [URL])
    assert "one-use" not in done.output
    assert fake.asked == [("POST", "/admin/ticket", f"Bearer {fake.record.token}", b"")]


def test_address_is_printed_on_request(run, browser):
    done = run("--print")
    assert (done.exit_code, done.stdout, browser.opened) == (0, f"{URL}\n", [])


def test_address_is_printed_where_there_is_no_browser(run, browser):
    browser.works = False
    done = run()
    assert done.exit_code == 0
    assert done.stdout.endswith(f"{URL}\n")
