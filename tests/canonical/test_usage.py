from app.canonical.usage import Usage


def test_the_counts_add_up_without_overlap():
    usage = Usage(input=3, cache_read=5, cache_write=7, output=11, reasoning=2, cache_write_1h=1)
    assert usage.prompt == 15
    assert usage.total == 26
