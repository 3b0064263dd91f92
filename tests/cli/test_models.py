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


def test_what_is_known_of_a_model_stands_beside_it(dragoman, fake):
    known = {
        "reads": ["image", "pdf", "text"],
        "reasoning": True,
        "prices": {"input": 3.0, "output": 15.0},
        "accounts": ["work"],
    }
    rows = [
        {"id": "big", "owned_by": "claude", "max_input_tokens": 1_048_576, "max_tokens": 64_000,
         "x_dragoman": known},
        {"id": "small", "owned_by": "x", "max_tokens": 999, "x_dragoman": {"reasoning": False}},
    ]  # fmt: skip
    fake.answers["GET /v1/models"] = {"data": rows}
    head, big, small = dragoman("models").out.splitlines()
    assert head.split() == [
        *("MODEL", "FROM", "ACCOUNTS", "CONTEXT", "ANSWER", "READS", "THINKS", "PRICE")
    ]
    assert " ".join(big.split()) == "big claude work 1.05 M 64 k image, pdf yes $3 / $15"
    assert small.split() == ["small", "x", "999", "no"]


def test_services_are_asked_first_where_that_is_wanted(dragoman, fake):
    fake.answers["POST /admin/models/refresh"] = {"sources": {}}
    assert dragoman("models", "--refresh").code == 0
    assert [(method, path) for method, path, *_ in fake.asked] == [
        ("POST", "/admin/models/refresh"),
        ("GET", "/v1/models"),
    ]


def test_the_address_of_the_list_is_printed_also_for_one_key(dragoman, fake):
    fake.answers["GET /admin/models/address?key=my+laptop"] = {"path": "/models/0123"}
    assert dragoman("models", "--url").out == f"http://localhost:{fake.port}/models\n"
    out = dragoman("models", "--url", "--key", "my laptop").out
    assert out == f"http://localhost:{fake.port}/models/0123\n"
    assert dragoman("models", "--key", "x").code == 2


def test_the_address_needs_an_instance(dragoman):
    assert dragoman("models", "--url").code == 3
