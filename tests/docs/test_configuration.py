"""The page of all settings against the program, and settings that any page names."""

import re
from pathlib import Path

import pytest
from pydantic import BaseModel, Field

from app.config import AT_START, Config, json_schema
from app.configtext import load, render_path
from app.errors import ConfigError
from tests.packaging_.scripts import load as load_script

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "assets" / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
PAGE = DOCS / "configuration.md"
generator = load_script("docs_configuration")

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
SECTION = "|".join(Config.model_fields)
DOTTED = re.compile(
    rf"(?P<key>(?:{SECTION})(?:\.(?!md\b|py\b|json\b|yaml\b)[\w…*-]+|\[\d*\])+)(?:: *(?P<value>.+))?"
)
FLOW = re.compile(rf"(?:{SECTION}): *\{{.*\}}")
VARIABLE = re.compile(r"\bDRAGOMAN_[A-Z0-9_]*__[A-Z0-9_]+")
NO_KEYS = {"models.dev"}
"""What looks like a key and is another thing."""
NO_VARIABLES = {"DRAGOMAN_SECTION__KEY"}

EXAMPLE = """\
providers:
  openai:
    accounts: [{label: a, credential_command: {command: [a]}}]
    credential_command: {command: [a]}
models:
  patterns: [{match: a, provider: openai}]
  capabilities: {name: {}}
  prices: {name: {}}
  chains: {name: [a]}
  rules: [{when: {rule: a}, then: {}}]
ledger: {budgets: [{name: a, usd: 1}]}
"""
"""Settings with an entry in each list, and a name wherever there can be one."""


def keys_of_the_schema():
    """Every key, from the JSON Schema that editors get: another way than the page's own."""
    schema = json_schema()

    def models(node):
        """The models that a schema leads to, with the steps to each."""
        if "$ref" in node:
            yield node["$ref"].rpartition("/")[2], ""
        for one in node.get("anyOf", ()):
            yield from models(one)
        for step, below in ((".NAME", "additionalProperties"), ("[]", "items")):
            if isinstance(node.get(below), dict):
                for name, steps in models(node[below]):
                    yield name, step + steps

    def walk(name, at, inside):
        for key, node in schema["$defs"][name]["properties"].items():
            yield f"{at}.{key}"
            for below, steps in models(node):
                if below not in (*inside, name):
                    yield from walk(below, f"{at}.{key}{steps}", (*inside, name))

    for section, node in schema["properties"].items():
        for name, steps in models(node):
            yield from walk(name, section + steps, ())


def headings():
    return re.findall(r"^### `(.+)`$", PAGE.read_text("utf-8"), re.MULTILINE)


def entries():
    """Name of each key → what the page says of it."""
    parts = re.split(r"^### `(.+)`$", PAGE.read_text("utf-8"), flags=re.MULTILINE)
    told = [re.split(r"^## ", text, maxsplit=1, flags=re.MULTILINE)[0] for text in parts[2::2]]
    return dict(zip(parts[1::2], told, strict=True))


def steps(key):
    return re.findall(r"[^.\[\]]+|\[\d*\]", key)


def exists(key):
    """Whether a key as people write it is one; names stand for any name, ``…`` for anything."""
    wanted = steps(key)
    return any(
        len(wanted) <= len(known)
        and all(
            have in (want, "NAME") or want in ("…", "*") or (have == "[]" and want.startswith("["))
            for want, have in zip(wanted, known, strict=False)
        )
        for known in map(steps, ENTRIES)
    )


ENTRIES = entries()


def test_every_key_is_on_the_page_and_every_key_of_the_page_exists():
    assert len(headings()) == len(set(headings()))
    assert set(headings()) == set(keys_of_the_schema())


def test_every_section_has_a_heading_and_a_link():
    text = PAGE.read_text("utf-8")
    for section in Config.model_fields:
        assert f"\n## {section}\n" in text
        assert f"[`{section}`](#{section})" in text


def test_no_two_headings_have_the_same_anchor():
    text = PAGE.read_text("utf-8")
    anchors = [
        re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.+)$", BLOCK.sub("", text), re.MULTILINE)
    ]
    assert len(anchors) == len(set(anchors))


def test_each_key_has_words_type_default_reason_variable_and_place():
    for key, text in ENTRIES.items():
        about, *items = re.split(r"^- \*\*", text, flags=re.MULTILINE)
        assert re.search(r"\w.*\.$", about.strip()), f"{key}: a sentence"
        told = dict(item.strip().split("**: ", 1) for item in items)
        assert list(told) == ["Type", "Default", "Variable", "Change"], key
        default = " ".join(told["Default"].split())
        without = ("none; it has to be there", "the defaults of the keys below")
        assert default in without or re.fullmatch(r"`[^`]+`\. .+\.", default), f"{key}: a reason"


@pytest.mark.parametrize("key", [key for key in ENTRIES if "NAME" not in key and "[]" not in key])
def test_default_on_the_page_is_the_one_that_holds(key):
    found = re.search(r"- \*\*Default\*\*: `(.+?)`\.", ENTRIES[key])
    if found is None:
        assert key in ("models.retry", "services.webai")
        return
    text = found[1]
    for step in reversed(key.split(".")):
        text = f"{{{step}: {text}}}"
    assert load(text, "f", {}) == Config()


@pytest.mark.parametrize("key", ENTRIES)
def test_variable_on_the_page_sets_that_key(key):
    (variable,) = VARIABLE.findall(ENTRIES[key])
    name = "openai" if key.startswith("providers.") else "name"
    variable = variable.replace("NAME", name.upper(), 1)
    where = key.replace("NAME", name, 1).replace("[]", "[0]")
    text = EXAMPLE.replace(
        "then: {}", "then: {reject: {message: a}}" if ".reject." in key else "then: {}"
    )
    if re.search(r"\*\*Type\*\*: (names, each with )?anything", ENTRIES[key]):
        load(text, "f", {variable: "{no_such_key: [1]}"})
        return
    with pytest.raises(ConfigError) as caught:
        load(text, "f", {variable: "{no_such_key: [1]}"})
    assert {problem.file for problem in caught.value.problems} == {f"environment ({variable})"}
    assert all(problem.key.startswith(where) for problem in caught.value.problems)


def test_what_starts_programs_or_holds_secrets_is_changed_in_the_file_only():
    last = r"(api_key|credential_command|command|headers|base_url|proxy|extensions|hooks|url)"
    locked = [key for key in ENTRIES if re.search(rf"\.{last}$", key)]
    assert len(locked) > 10
    for key in locked:
        assert "**Change**: in the file only" in ENTRIES[key]


def test_sections_that_wait_for_the_next_start_say_so():
    parts = re.split(r"^## (\w+)$", PAGE.read_text("utf-8"), flags=re.MULTILINE)
    told = dict(zip(parts[1::2], parts[2::2], strict=True))
    waiting = {name for name, text in told.items() if "holds from the next start" in text}
    assert waiting == set(AT_START)


# Keys that any page names


def named(pattern):
    return [
        pytest.param(found, id=f"{page.name}-{found[0]}")
        for page in PAGES
        for text in dict.fromkeys(INLINE.findall(BLOCK.sub("", page.read_text("utf-8"))))
        if (found := pattern.fullmatch(text)) and text not in NO_KEYS
    ]


@pytest.mark.parametrize("found", named(DOTTED))
def test_keys_that_pages_name_exist(found):
    assert exists(found["key"]), f"{found['key']} is no key"
    if found["value"] and "NAME" not in found["key"] and "…" not in found["key"]:
        text = found["value"]
        for step in reversed(found["key"].split(".")):
            text = f"{{{step}: {text}}}"
        load(text, "f", {})


@pytest.mark.parametrize("found", named(FLOW))
def test_settings_in_the_text_of_pages_are_valid(found):
    load(found[0], "f", {})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_variables_that_pages_name_set_a_key(page):
    variables = set(VARIABLE.findall(page.read_text("utf-8"))) - NO_VARIABLES
    for variable in variables:
        path = variable.removeprefix("DRAGOMAN_").lower().split("__")
        written = render_path(tuple(int(one) if one.isdecimal() else one for one in path))
        assert exists(written), variable


@pytest.mark.parametrize(
    ("key", "there"),
    [
        ("server.port", True),
        ("server", True),
        ("server.prot", False),
        ("server.port.deep", False),
        ("providers.openai.accounts[0].label", True),
        ("providers.NAME.pace", True),
        ("providers.openai.acounts", False),
        ("models.rules[].when.model", True),
        ("models.rules.when", False),
        ("services.….url", True),
    ],
)
def test_keys_are_told_from_what_only_looks_like_one(key, there):
    assert exists(key) is there


# The generator


class Named(BaseModel):
    """A model."""

    # One reason
    # in two lines.
    first: int = Field(default=1, description="a")
    second: int = Field(default=2, description="b")
    # Another reason.
    third: int = Field(default=3, description="c")


def test_a_comment_is_the_reason_of_the_fields_below_it():
    assert generator.reasons(Named) == {
        "first": "One reason in two lines.",
        "second": "One reason in two lines.",
        "third": "Another reason.",
    }


class Bare(BaseModel):
    """A model."""

    key: int = Field(default=1, description="a")


class Silent(BaseModel):
    """A model."""

    # A reason.
    key: int = 1


@pytest.mark.parametrize(("model", "words"), [(Bare, "reason"), (Silent, "description")])
def test_a_key_without_words_or_reason_stops_the_generator(model, words):
    with pytest.raises(ValueError, match=words):
        list(generator._keys(model, ("section",), ()))


@pytest.mark.parametrize(
    ("text", "words", "sentence"),
    [
        ("seconds to wait", (), "Seconds to wait."),
        ("false keeps it", ("true", "false"), "`false` keeps it."),
        (
            "the key of api_key, see upstream.proxy",
            (),
            "The key of `api_key`, see `upstream.proxy`.",
        ),
        ("names: {a: b}", (), "Names: `{a: b}`."),
        ("as ``otel`` has it", (), "As `otel` has it."),
        ("null is http://localhost:1.", ("null",), "`null` is `http://localhost:1`."),
        ('best as "${NAME}"', (), 'Best as `"${NAME}"`.'),
    ],
)
def test_words_of_the_model_become_a_sentence(text, words, sentence):
    assert generator._sentence(text, words) == sentence


def test_examples_are_there_for_each_section_and_no_other():
    assert list(generator.EXAMPLES) == list(Config.model_fields)
