import pytest

from app.canonical.profile import ModelProfile
from app.providers.base import ModelFacts
from app.routing.catalog import Capabilities, Catalog
from app.routing.snapshot import SnapshotRow
from tests.routing.accounts import account, catalog

OPENAI = account("openai/home")
ROUTER = account("openrouter/main")
MAPPED = account("openrouter/main", models={"fast": "vendor/fast-1"})


def test_an_account_without_a_list_has_what_its_service_lists():
    known = catalog({"openai/home": ["gpt-5", "a/b"]})
    assert known.names(OPENAI) == {"gpt-5": "gpt-5", "a/b": "a/b"}
    assert known.upstream_name(OPENAI, "a/b") == "a/b"
    assert known.upstream_name(OPENAI, "gpt-4o") is None
    assert known.upstream_name(OPENAI, "") is None


def test_a_mapping_of_the_settings_hides_what_the_service_lists():
    known = catalog({"openrouter/main": ["vendor/fast-1", "other"]})
    assert known.names(MAPPED) == {"fast": "vendor/fast-1"}
    assert known.upstream_name(MAPPED, "fast") == "vendor/fast-1"
    assert known.upstream_name(MAPPED, "other") is None
    assert known.upstream_name(MAPPED, "vendor/fast-1") is None


def test_models_of_one_account_are_not_those_of_another():
    known = catalog({"openai/work": ["gpt-5"]})
    assert known.upstream_name(OPENAI, "gpt-5") is None
    assert known.names(OPENAI) == {}
    assert known.facts(OPENAI, "gpt-5") is None


def test_models_are_known_once_configured_or_listed():
    assert not Catalog().knows(OPENAI)
    assert catalog({"openai/home": []}).knows(OPENAI)
    assert Catalog().knows(MAPPED)
    assert Catalog().knows(account("openai/home", models={}))


def profile(model="m", account=ROUTER, public=None, **settings):
    return Catalog(**settings).profile(account, public or model, model)


def test_an_unknown_model_gets_the_defaults_of_a_compatible_server():
    assert profile() == ModelProfile("m", legacy_max_tokens=True)


def test_whether_the_service_is_the_dialects_owner_is_told_to_the_profile():
    assert profile("gpt-5", OPENAI).developer_role
    assert not profile("gpt-5", ROUTER).developer_role


def test_public_data_fills_what_is_not_known():
    row = SnapshotRow("acme", 1000, 100, frozenset({"text", "audio"}), tools=False)
    found = profile(snapshot={"m": row})
    assert (found.context, found.max_output, found.tools) == (1000, 100, False)
    assert (found.images, found.audio) == (False, True)
    empty = profile(snapshot={"m": SnapshotRow("acme")})
    assert empty == ModelProfile("m", legacy_max_tokens=True)


def test_public_sizes_win_over_those_of_the_family():
    assert profile("gpt-4o", OPENAI).context == 128_000
    row = SnapshotRow("openai", context=200_000)
    found = profile("gpt-4o", OPENAI, snapshot={"gpt-4o": row})
    assert (found.context, found.max_output) == (200_000, 16_384)


@pytest.mark.parametrize(
    ("context", "max_output", "expected"),
    [(None, None, (1000, 100)), (5, None, (5, 100)), (None, 6, (1000, 6)), (5, 6, (5, 6))],
)
def test_the_services_own_sizes_win_over_public_ones(context, max_output, expected):
    facts = {ROUTER.id: {"m": ModelFacts("m", context=context, max_output=max_output)}}
    found = profile(listed=facts, snapshot={"m": SnapshotRow("acme", 1000, 100)})
    assert (found.context, found.max_output) == expected


def test_what_a_service_says_of_tools_and_images_wins_over_public_data():
    facts = {ROUTER.id: {"m": ModelFacts("m", tools=False, images=False)}}
    row = SnapshotRow("acme", 1000, input=frozenset({"image"}), tools=True)
    found = profile(listed=facts, snapshot={"m": row})
    assert (found.tools, found.images) == (False, False)
    assert profile(listed={ROUTER.id: {"m": ModelFacts("m")}}, snapshot={"m": row}).tools


def test_the_settings_win_over_everything():
    facts = {ROUTER.id: {"m": ModelFacts("m", context=5)}}
    row = SnapshotRow("acme", 1000, input=frozenset({"image"}), tools=True)
    own = Capabilities(context=7, tools=False, images=False, reasoning="budget", max_output=3)
    found = profile(listed=facts, snapshot={"m": row}, capabilities={"m": own})
    assert (found.context, found.tools, found.images, found.reasoning) == (
        7,
        False,
        False,
        "budget",
    )
    assert found.max_output == 3


def test_settings_that_say_nothing_change_nothing():
    row = SnapshotRow("acme", 1000, input=frozenset({"text"}), tools=False)
    plain = profile(snapshot={"m": row})
    assert profile(snapshot={"m": row}, capabilities={"m": Capabilities()}) == plain


def test_settings_are_found_by_public_name_before_the_services():
    known = {"fast": Capabilities(context=1), "vendor/fast-1": Capabilities(context=2)}
    assert profile("vendor/fast-1", MAPPED, "fast", capabilities=known).context == 1
    del known["fast"]
    assert profile("vendor/fast-1", MAPPED, "fast", capabilities=known).context == 2


def test_a_profile_is_worked_out_once_per_account_and_name():
    known = catalog(capabilities={"fast": Capabilities(context=1)})
    first = known.profile(OPENAI, "gpt-5", "gpt-5")
    assert known.profile(OPENAI, "gpt-5", "gpt-5") is first
    assert known.profile(ROUTER, "gpt-5", "gpt-5") != first
    assert known.profile(OPENAI, "fast", "gpt-5").context == 1


def test_profiles_stay_right_however_many_names_are_asked_for():
    known = catalog()
    expected = known.profile(OPENAI, "gpt-5", "gpt-5")
    for number in range(5_000):
        assert known.profile(ROUTER, "m", f"m{number}").name == f"m{number}"
    assert known.profile(OPENAI, "gpt-5", "gpt-5") == expected
