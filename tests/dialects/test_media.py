"""Data URLs and sound formats."""

import pytest

from app.dialects.media import AUDIO_FORMATS, AUDIO_TYPES, is_data_url, split_data_url
from app.errors import RequestError


@pytest.mark.parametrize(
    ("url", "media_type", "data"),
    [
        ("data:image/PNG;base64,QUJD", "image/png", "QUJD"),
        ("DATA:image/png;charset=x;BASE64,QUJD", "image/png", "QUJD"),
        ("data:;base64,QUJD", None, "QUJD"),
        ("data:base64,QUJD", None, "QUJD"),
        ("data:text/plain,A%42C", "text/plain", "QUJD"),
        ("data:,ABC", None, "QUJD"),
        ("data:text/plain;base64,not base64!", "text/plain", "not base64!"),
        ("data:text/plain;base64,", "text/plain", ""),
    ],
)
def test_data_urls_are_read(url, media_type, data):
    assert is_data_url(url)
    assert split_data_url(url, "x") == (media_type, data)


def test_a_data_url_without_data_is_refused():
    with pytest.raises(RequestError) as caught:
        split_data_url("data:image/png;base64", "a.b")
    assert caught.value.message == "a.b is a data URL without data."
    assert caught.value.param == "a.b"


def test_other_urls_hold_no_data():
    assert not is_data_url("https://data:1/")


def test_every_format_has_a_media_type_that_leads_back():
    assert {AUDIO_FORMATS[kind] for kind in AUDIO_TYPES.values()} == set(AUDIO_TYPES)
