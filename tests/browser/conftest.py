import gzip
import os
from pathlib import Path

import pytest

from tests.browser.chromium import Chromium, find_chromium

HERE = Path(__file__).parent
PICTURES = "DRAGOMAN_TEST_PICTURES"
"""Names a folder that gets the pictures which tests take, in place of ``.cache/pictures``."""


@pytest.fixture(scope="session")
def chromium():
    path = find_chromium()
    if path is None:
        pytest.skip("chromium is not installed")
    browser = Chromium(path)
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def axe():
    """The source of axe-core, which checks a page for what keeps people out."""
    return gzip.decompress((HERE / "axe-core" / "axe.min.js.gz").read_bytes()).decode()


@pytest.fixture(scope="session")
def pictures():
    """The folder of what the pages looked like in this run of the tests."""
    named = os.environ.get(PICTURES)
    return Path(named) if named else HERE.parents[1] / ".cache" / "pictures"
