import pytest

from app.providers.aistudio_window import BUILD, app_address, guide, is_refusal

SIGN_IN = "https://accounts.google.com/v3/signin/identifier"
REFUSED = "https://accounts.google.com/v3/signin/rejected"
APP = "https://aistudio.google.com/apps/drive/1CPW7FpWGsDZzkaYgYOyXQ_6FWgxieLmL"
SHARED = "https://ai.studio/apps/cab9ab6c-44f9-4e7a-8972-037f8ae177ab"


@pytest.mark.parametrize(
    ("url", "step", "facts"),
    [
        ("", "closed", (False, False)),
        (SIGN_IN, "sign_in", (False, False)),
        ("https://accounts.google.com/signin/accountchooser", "sign_in", (False, False)),
        ("https://accounts.google.de/ServiceLogin", "sign_in", (False, False)),
        (REFUSED, "refused", (False, False)),
        ("https://accounts.google.com/signin/oauth/error", "refused", (False, False)),
        (BUILD, "build", (True, False)),
        ("https://ai.studio/build", "build", (True, False)),
        (APP, "app", (True, True)),
        (APP.replace("/apps", "/u/1/apps"), "app", (True, True)),
        (SHARED, "app", (True, True)),
        ("https://aistudio.google.com/apps/bundled/blank", "app", (True, True)),
    ],
)
def test_address_tells_how_far_it_is(url, step, facts):
    found = guide(url)
    assert (found.step, found.signed_in, found.app_loaded) == (step, *facts)
    assert not found.connected
    assert found.text


def test_connected_page_needs_nothing_wherever_it_runs():
    for url in ("", SIGN_IN, APP):
        found = guide(url, connected=True)
        assert (found.step, found.text) == ("connected", "")
        assert (found.signed_in, found.app_loaded, found.connected) == (True, True, True)


def test_sleeping_page_is_to_be_shown():
    found = guide(APP, connected=True, asleep=True)
    assert (found.step, found.connected) == ("asleep", True)
    assert "bring it to the front" in found.text


def test_refusal_is_answered_with_the_browser_and_the_key():
    for found in (guide(REFUSED), guide(SIGN_IN, refused=True)):
        assert found.step == "refused"
        assert "may not be secure" in found.text
        assert "Open in my browser" in found.text
        assert "dragoman login gemini" in found.text


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/signin/rejected",
        "https://accounts.google.com.evil.example/signin/rejected",
        SIGN_IN,
        "",
    ],
)
def test_other_pages_are_no_refusal(url):
    assert not is_refusal(url)


def test_address_of_an_app_is_kept_without_what_follows_it():
    assert app_address(f"{APP}?showPreview=true#x") == APP
    assert app_address(SHARED) == SHARED.replace("ai.studio", "aistudio.google.com")
    assert app_address(BUILD) == ""
    assert app_address("https://evil.example/apps/drive/1") == ""
