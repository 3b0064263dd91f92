"""The settings of the cache and of traces."""

import pytest

from app.configtext import load
from app.errors import ConfigError


def read(text):
    return load(text, "config.yaml", {})


def test_nothing_is_cached_or_sent_by_default():
    config = read("")
    assert (config.cache.enabled, config.traces.enabled) == (False, False)


def test_they_are_read():
    config = read(
        "cache: {enabled: true, ttl_s: 60, max_mb: 8}\n"
        "traces: {enabled: true, endpoint: 'https://cloud.langfuse.com/api/public/otel'}\n"
    )
    assert (config.cache.enabled, config.cache.ttl_s, config.cache.max_mb) == (True, 60, 8)
    assert config.traces.endpoint == "https://cloud.langfuse.com/api/public/otel"


@pytest.mark.parametrize(
    "text",
    [
        "cache: {enable: true}",
        "cache: {ttl_s: 0}",
        "cache: {max_mb: 0}",
        "traces: {endpoint: 'localhost:4318'}",
        "traces: {endpoint: 'http://user:secret@host'}",
        "traces: {endpoint: 'http://host/?key=secret'}",
    ],
)
def test_what_is_wrong_is_told_without_what_it_was(text):
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert "secret" not in str(caught.value)
