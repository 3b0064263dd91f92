from app.providers.credential import Credential


def test_no_secret_ever_shows():
    credential = Credential("sk-secret", renewal="rt-secret", facts={"account_id": "a"})
    assert "secret" not in repr(credential) + str(credential)


def test_everything_that_must_not_be_shown_is_named_for_redaction():
    assert Credential("sk", renewal="rt").secrets == ("sk", "rt")
    assert Credential("sk").secrets == ("sk",)
    assert Credential("", "none").secrets == ()


def test_two_credentials_share_no_facts():
    assert Credential("a").facts is not Credential("b").facts
    assert Credential("a") == Credential("a")
