import msgspec

from tests.cli.fake_instance import model


def test_without_an_instance_it_says_how_to_start_one(dragoman):
    code, _, err = dragoman("models")
    assert code == 3
    assert "dragoman start" in err


def test_models_are_listed_with_their_accounts(dragoman, fake):
    fake.answers["GET /v1/models"] = {
        "data": [model("gpt-5", "openai", "work", "home"), {"id": "fast", "owned_by": "alias"}]
    }
    lines = dragoman("models").out.splitlines()
    assert lines[1].split(maxsplit=2) == ["gpt-5", "openai", "work, home"]
    assert lines[2].split() == ["fast", "alias"]


def test_json_is_the_list_as_served(dragoman, fake):
    code, out, _ = dragoman("models", "--json")
    assert (code, msgspec.json.decode(out)) == (0, fake.answers["GET /v1/models"])


def test_empty_list_says_where_to_look(dragoman, fake):
    fake.answers["GET /v1/models"] = {"data": []}
    code, out, err = dragoman("models")
    assert (code, out) == (0, "")
    assert "dragoman status" in err
