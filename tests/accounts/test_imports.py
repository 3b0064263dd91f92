"""Sign-ins of other programs: what is found, what it would become, and hostile files."""

import base64
import os

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.accounts import imports
from app.accounts.imports import find
from app.errors import RequestError
from app.providers.credential import Identity

NOW = 1_800_000_000.0
PARSERS = [
    imports.parse_claude_code,
    imports.parse_claude_profile,
    imports.parse_codex,
    imports.parse_opencode,
    imports.parse_copilot,
    imports.parse_gemini_cli,
    imports.parse_gemini_env,
    imports.parse_cto,
    imports.parse_cliproxyapi,
]


def jwt(**claims):
    middle = base64.urlsafe_b64encode(msgspec.json.encode(claims)).rstrip(b"=").decode()
    return f"eyJhbGciOiJub25lIn0.{middle}.c2lnbmF0dXJl"


@pytest.fixture
def home(tmp_path):
    return tmp_path


def write(home, name, content):
    path = home / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else msgspec.json.encode(content))
    return path


def only(home, **env):
    listing = find(home, env, platform="linux")
    assert listing.problems == ()
    (found,) = listing.found
    return found


CLAUDE = {
    "claudeAiOauth": {
        "accessToken": "sk-ant-oat01-synthetic",
        "refreshToken": "sk-ant-ort01-synthetic",
        "expiresAt": 1_800_000_360_000,
        "scopes": ["user:inference", "user:profile"],
        "subscriptionType": "max",
    }
}
CODEX_CLAIMS = {
    "email": "person@example.com",
    "sub": "auth0|synthetic",
    "https://api.openai.com/auth": {
        "chatgpt_account_id": "acc-1",
        "chatgpt_plan_type": "plus",
        "chatgpt_user_id": "user-1",
    },
}
CODEX = {
    "OPENAI_API_KEY": None,
    "tokens": {
        "id_token": jwt(**CODEX_CLAIMS),
        "access_token": jwt(exp=1_800_600_000),
        "refresh_token": "rt-synthetic",
        "account_id": "acc-1",
    },
    "last_refresh": "2026-11-01T00:00:00Z",
}


# Each program


def test_claude_code_is_found_with_whose_it_is_and_the_warning(home):
    path = write(home, ".claude/.credentials.json", CLAUDE)
    write(
        home,
        ".claude.json",
        {
            "oauthAccount": {
                "accountUuid": "a-uuid",
                "emailAddress": "person@example.com",
                "organizationUuid": "o-uuid",
                "organizationName": "Example",
            }
        },
    )
    found = only(home)
    assert (found.key, found.provider, found.path) == ("claude-code", "claude", str(path))
    assert found.identity == Identity("a-uuid/o-uuid", "person@example.com", "max", "Example")
    assert found.credential.secret == "sk-ant-oat01-synthetic"
    assert found.credential.renewal == "sk-ant-ort01-synthetic"
    assert found.credential.expires_at == 1_800_000_360.0
    assert found.credential.facts == {"account_id": "a-uuid/o-uuid"}
    assert "Claude Code keeps this sign-in, too" in found.warning
    assert "dragoman login claude" in found.warning


@pytest.mark.parametrize("profile", [None, b"", b"[]", b'{"oauthAccount": 1}', b"{" * 50_000])
def test_claude_code_is_found_without_knowing_whose_it_is(home, profile):
    write(home, ".claude/.credentials.json", CLAUDE)
    if profile is not None:
        write(home, ".claude.json", profile)
    assert only(home).identity == Identity("", plan="max")


def test_a_setup_token_is_shared_without_harm(home):
    write(home, ".claude/.credentials.json", {"claudeAiOauth": {"accessToken": "sk-ant-oat01-s"}})
    found = only(home)
    assert found.warning == ""
    assert found.credential.expires_at is None


def test_codex_is_found_with_account_plan_and_end(home):
    write(home, ".codex/auth.json", CODEX)
    found = only(home)
    assert (found.provider, found.what) == ("codex", "ChatGPT sign-in")
    assert found.identity == Identity("acc-1/user-1", "person@example.com", "plus")
    assert found.credential.expires_at == 1_800_600_000.0
    assert found.credential.facts == {"account_id": "acc-1", "plan": "plus", "user_id": "user-1"}
    assert "works once" in found.warning


def test_an_api_key_of_codex_is_an_account_of_openai(home):
    write(home, ".codex/auth.json", {"OPENAI_API_KEY": "sk-synthetic-key"})
    found = only(home)
    assert (found.provider, found.credential.kind, found.warning) == ("openai", "api_key", "")


def test_opencode_holds_several(home):
    write(
        home,
        ".local/share/opencode/auth.json",
        {
            "anthropic": {
                "type": "oauth",
                "access": "sk-ant-oat01-x",
                "refresh": "sk-ant-ort01-x",
                "expires": 1_800_000_000_000,
            },
            "openai": {
                "type": "oauth",
                "access": jwt(**CODEX_CLAIMS),
                "refresh": "rt-x",
                "expires": 1_800_000_000_000,
                "accountId": "acc-1",
            },
            "github-copilot": {
                "type": "oauth",
                "access": "gho_x",
                "refresh": "gho_x",
                "expires": 0,
            },
            "github-copilot-enterprise": {
                "type": "oauth",
                "refresh": "gho_y",
                "access": "gho_y",
                "expires": 0,
                "enterpriseUrl": "https://github.example.com/",
            },
            "google": {"type": "api", "key": "AIza-synthetic"},
            "openrouter": {"type": "api", "key": "sk-or-synthetic"},
            "poe": {"type": "oauth", "access": "x", "refresh": "y"},
            "strange": 7,
            "later": {"type": "wellknown", "key": "K", "token": "T"},
        },
    )
    listing = find(home, {}, platform="linux")
    assert listing.problems == ()
    found = {one.key.removeprefix("opencode:"): one for one in listing.found}
    assert {name: one.provider for name, one in found.items()} == {
        "anthropic": "claude",
        "openai": "codex",
        "github-copilot": "copilot",
        "github-copilot-enterprise": "copilot",
        "google": "gemini",
        "openrouter": "",
        "poe": "",
    }
    assert found["openai"].credential.facts["account_id"] == "acc-1"
    assert found["github-copilot"].credential.facts == {"family": "direct", "host": "github.com"}
    assert found["github-copilot-enterprise"].credential.facts["host"] == "github.example.com"
    assert "config.yaml" in found["openrouter"].refusal
    assert found["poe"].refusal


def test_copilot_tokens_of_the_editors_are_exchanged_before_use(home):
    entry = {"user": "octo", "oauth_token": "ghu_synthetic", "githubAppId": "Iv1.b507a08c87ecfe98"}
    write(home, ".config/github-copilot/apps.json", {"github.com:Iv1.b507a08c87ecfe98": entry})
    write(home, ".config/github-copilot/hosts.json", {"github.com": entry})
    found = only(home)  # both files hold the same
    assert (found.provider, found.identity.name) == ("copilot", "octo")
    assert (found.credential.secret, found.credential.renewal) == ("", "ghu_synthetic")
    assert found.credential.expires_at < NOW
    assert found.credential.facts == {"family": "editor", "host": "github.com"}


def test_copilot_on_windows_is_in_the_local_folder(home):
    write(home, "local/github-copilot/apps.json", {"github.com": {"oauth_token": "gho_x"}})
    listing = find(home, {"LOCALAPPDATA": str(home / "local")}, platform="win32")
    assert [one.provider for one in listing.found] == ["copilot"]


def test_gemini_cli_is_named_and_cannot_be_taken(home):
    write(
        home,
        ".gemini/oauth_creds.json",
        {
            "access_token": "ya29.synthetic",
            "refresh_token": "1//synthetic",
            "expiry_date": 1,
            "id_token": jwt(email="person@example.com"),
        },
    )
    found = only(home)
    assert (found.provider, found.credential) == ("", None)
    assert found.identity.name == "person@example.com"
    assert "AI Studio" in found.refusal
    with pytest.raises(RequestError) as caught:
        found.record("gemini-1", NOW)
    assert caught.value.code == "not_importable"


@pytest.mark.parametrize("line", ["GEMINI_API_KEY=AIza-s", ' export GEMINI_API_KEY = "AIza-s" '])
def test_a_gemini_key_in_a_file_is_found(home, line):
    write(home, ".gemini/.env", f"# mine\nOTHER=1\n{line}\n".encode())
    found = only(home)
    assert (found.provider, found.credential.secret) == ("gemini", "AIza-s")


def test_a_gemini_key_in_the_environment_is_found(home):
    found = only(home, GEMINI_API_KEY="AIza-synthetic")
    assert (found.path, found.provider) == ("$GEMINI_API_KEY", "gemini")


def test_the_command_line_of_cto_new_is_found(home):
    write(
        home,
        ".cto/credentials",
        {"accessToken": "acc-s", "refreshToken": "ref-s", "expiresAt": 1_800_000_000_000},
    )
    found = only(home)
    assert (found.provider, found.credential.renewal) == ("ctonew", "ref-s")
    assert "signed out" in found.warning


def test_the_folder_of_cliproxyapi_is_found(home):
    folder = ".cli-proxy-api"
    write(
        home,
        f"{folder}/claude-person@example.com.json",
        {
            "type": "claude",
            "email": "person@example.com",
            "access_token": "sk-ant-oat01-c",
            "refresh_token": "sk-ant-ort01-c",
            "expired": "2027-01-15T08:00:00Z",
            "account_uuid": "a",
            "organization_uuid": "o",
            "organization_name": "Example",
        },
    )
    write(
        home,
        f"{folder}/codex-1.json",
        {
            "type": "codex",
            "id_token": jwt(**CODEX_CLAIMS),
            "access_token": "opaque",
            "refresh_token": "rt-c",
            "expired": "2027-01-15T08:00:00Z",
            "account_id": "acc-1",
        },
    )
    write(home, f"{folder}/gemini-x.json", {"type": "gemini", "token": {}})
    write(home, f"{folder}/qwen-x.json", {"type": "qwen", "access_token": "x"})
    write(home, f"{folder}/config.json", {"port": 1})
    write(home, f"{folder}/broken.json", b"{")
    write(home, f"{folder}/readme.txt", b"not looked at")
    listing = find(home, {}, platform="linux")
    assert [problem.path for problem in listing.problems] == [str(home / folder / "broken.json")]
    claude, codex, gemini, qwen = listing.found
    assert claude.identity == Identity("a/o", "person@example.com", "", "Example")
    assert claude.credential.expires_at == 1_800_000_000.0
    assert claude.credential.facts == {"account_id": "a/o"}
    assert codex.credential.expires_at == 1_800_000_000.0
    assert codex.identity.name == "person@example.com"
    assert (gemini.credential, qwen.credential) == (None, None)
    assert "CLIProxyAPI keeps this sign-in" in claude.warning


@pytest.mark.parametrize(
    ("variable", "name", "content"),
    [
        ("CLAUDE_CONFIG_DIR", "moved/.credentials.json", CLAUDE),
        ("CODEX_HOME", "moved/auth.json", CODEX),
        (
            "XDG_CONFIG_HOME",
            "moved/github-copilot/hosts.json",
            {"github.com": {"oauth_token": "g"}},
        ),
        ("XDG_DATA_HOME", "moved/opencode/auth.json", {"openai": {"type": "api", "key": "sk-s"}}),
    ],
)
def test_programs_that_were_moved_are_found(home, variable, name, content):
    path = write(home, name, content)
    assert only(home, **{variable: str(home / "moved")}).path == str(path)


def test_a_home_without_any_is_empty(home):
    listing = find(home, {}, platform="linux")
    assert (listing.found, listing.problems) == ((), ())


# Taking one


def test_a_choice_becomes_a_record(home):
    write(home, ".claude/.credentials.json", CLAUDE)
    found = only(home)
    taken = found.record("claude-1", NOW, consent="2026-02")
    assert (taken.id, taken.way, taken.created_at) == ("claude/claude-1", "import", NOW)
    assert (taken.consent, taken.consented_at) == ("2026-02", NOW)
    assert taken.credential == found.credential
    assert found.record("claude-2", NOW).consented_at == 0.0


def test_looking_changes_nothing(home):
    write(home, ".claude/.credentials.json", CLAUDE)
    write(home, ".codex/auth.json", CODEX)

    def state():
        return {path: path.stat().st_mtime_ns for path in home.rglob("*")}

    before = state()
    find(home, {}, platform="linux")
    assert state() == before


def test_no_secret_shows_in_what_is_found(home):
    write(home, ".claude/.credentials.json", CLAUDE)
    write(home, ".codex/auth.json", CODEX)
    text = repr(find(home, {"GEMINI_API_KEY": "AIza-synthetic"}, platform="linux"))
    for secret in ("synthetic", "eyJ"):
        assert secret not in text


# Hostile files


@pytest.mark.parametrize(
    "token", ["a\r\nX-Evil: 1", "a b", "a\0b", "\u2028", "x" * 20_000, 7, None]
)
def test_a_token_that_cannot_stand_in_a_header_is_no_token(home, token):
    write(home, ".claude/.credentials.json", {"claudeAiOauth": {"accessToken": token}})
    assert find(home, {}, platform="linux").found == ()


def test_hints_are_short_and_printable(home):
    entry = {"oauth_token": "gho_x", "user": "\x1b[31mevil\r\n" + "x" * 5_000}
    write(home, ".config/github-copilot/hosts.json", {"github.com": entry})
    name = only(home).identity.name
    assert name.startswith("[31mevilx")
    assert len(name) <= 200


def test_a_host_that_is_none_is_left_out(home):
    entry = {"oauth_token": "gho_x"}
    hosts = ["github.com/../..", "evil host", "", "localhost", "a@b.com", "x" * 300 + ".com"]
    write(home, ".config/github-copilot/hosts.json", dict.fromkeys(hosts, entry))
    assert find(home, {}, platform="linux").found == ()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes in the file system are POSIX")
def test_a_pipe_in_place_of_a_file_does_not_hang(home):
    (home / ".codex").mkdir()
    os.mkfifo(home / ".codex" / "auth.json")
    listing = find(home, {}, platform="linux")
    assert [problem.reason for problem in listing.problems] == ["it is no ordinary file"]


def test_a_folder_and_a_huge_file_are_problems_and_stop_nothing(home):
    (home / ".codex" / "auth.json").mkdir(parents=True)
    write(home, ".cto/credentials", b" " * 4_000_001)
    write(home, ".claude/.credentials.json", CLAUDE)
    listing = find(home, {}, platform="linux")
    assert [one.key for one in listing.found] == ["claude-code"]
    assert len(listing.problems) == 2
    assert all(problem.reason for problem in listing.problems)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
NAMES = [
    *("claudeAiOauth", "accessToken", "refreshToken", "expiresAt", "tokens", "access_token"),
    *("refresh_token", "id_token", "account_id", "type", "oauth", "api", "claude", "codex", "key"),
    *(
        "openai",
        "anthropic",
        "access",
        "refresh",
        "expires",
        "enterpriseUrl",
        "oauth_token",
        "user",
    ),
    *("github.com", "github-copilot", "expired", "email", "OPENAI_API_KEY", "oauthAccount"),
]
likely = st.recursive(
    st.sampled_from(NAMES)
    | json_values
    | st.sampled_from([jwt(exp="x"), jwt(), "a.b.c", -1, 1e300]),
    lambda inner: st.dictionaries(st.sampled_from(NAMES), inner, max_size=6),
    max_leaves=12,
)


def encodable(value):
    try:
        return msgspec.json.encode(value)
    except (UnicodeEncodeError, msgspec.MsgspecError):
        return b"{}"


@settings(max_examples=120, deadline=None)
@given(likely.map(encodable) | st.binary(max_size=60), st.sampled_from(PARSERS))
def test_no_content_crashes_a_parser(content, parser):
    try:
        if parser is imports.parse_claude_profile:
            parser(content)
        else:
            for one in parser(content, "/home/u/file.json"):
                assert one.credential is None or one.record("x", NOW).id
    except imports.StrangeFile:
        pass


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.__name__)
def test_depth_crashes_no_parser(parser):
    deep = b'{"tokens":' * 50_000
    try:
        result = parser(deep) if parser is imports.parse_claude_profile else list(parser(deep, "x"))
    except imports.StrangeFile:
        return
    assert result == []


# A folder that is named


def test_only_the_named_folder_is_looked_into(home):
    write(home, ".claude/.credentials.json", CLAUDE)
    write(home, "auths/one.json", {"type": "codex", "access_token": "t", "email": "a@example.com"})
    write(home, "auths/notes.txt", b"nothing")
    listing = find(home, {"GEMINI_API_KEY": "k" * 20}, folder=home / "auths")
    assert [one.key for one in listing.found] == ["cliproxyapi:one"]
    assert listing.problems == ()


def test_named_folder_that_is_not_there_is_told(home):
    (problem,) = find(home, {}, folder=home / "nowhere").problems
    assert (problem.path, problem.reason) == (str(home / "nowhere"), "there is no such folder")


@pytest.mark.parametrize(
    ("enterprise", "host"), [(None, ""), ("https://company.ghe.com", "company.ghe.com")]
)
def test_record_names_the_users_own_server(home, enterprise, host):
    entry = {"type": "oauth", "refresh": "gho_synthetic", "enterpriseUrl": enterprise}
    write(home, ".local/share/opencode/auth.json", {"github-copilot": entry})
    assert only(home).record("copilot-1", NOW).host == host
