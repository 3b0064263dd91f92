import msgspec
import pytest

from app.desktop.told import Told


@pytest.mark.parametrize(
    ("state", "live"),
    [
        ("waiting", True),
        ("working", True),
        ("other_identity", True),
        ("done", False),
        ("failed", False),
        ("expired", False),
        ("cancelled", False),
    ],
)
def test_something_may_come_of_it(state, live):
    told = Told(id="1", provider="codex", title="ChatGPT", kind="browser", state=state)
    assert told.live is live
    assert msgspec.json.decode(msgspec.json.encode(told), type=Told) == told
