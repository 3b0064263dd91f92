"""Statuses as the proxy could have them."""

from app.gateway.status import (
    AccountStatus,
    ModelStatus,
    PendingSignIn,
    ServiceStatus,
    Status,
    WindowStatus,
)

EVERY_ACTION = frozenset(
    {
        *("add_account", "autostart", "copy_address", "dashboard", "default_model", "help"),
        *("logs", "new_key", "notifications", "pause", "pause_account", "primary", "quit"),
        *("refresh", "resume", "resume_account", "sign_in", "sign_out", "updates"),
    }
)


def window(name="5h", left=62.0, **changes):
    return WindowStatus(name, left, **changes)


def account(name="chatgpt/chatgpt-1", **changes):
    provider, _, label = name.partition("/")
    fields = {"title": "ChatGPT", "health": "ready", "signed_in": True} | changes
    return AccountStatus(id=name, provider=provider, label=label, **fields)


def model(name, account="chatgpt/chatgpt-1", **changes):
    fields = {"provider": "chatgpt", "title": "ChatGPT", "upstream": name} | changes
    return ModelStatus(name, account=account, **fields)


def status(state="running", **changes):
    fields = {"version": "1.2.3", "address": "http://localhost:8317"} | changes
    return Status(state, **fields)


def full():
    """A status in which every part of the menu has something to show."""
    return status(
        accounts=(
            account(identity="ada_l@example.org", plan="plus", windows=(window(),), primary=True),
            account("chatgpt/chatgpt-2", paused=True, health="disabled", reason="paused by you"),
            account(
                "claude/claude-1",
                title="Claude",
                health="unusable",
                needs_sign_in=True,
                reason="Its sign-in has ended.",
            ),
        ),
        models=(
            model("gpt-5"),
            model("gpt-5-mini"),
            model("fast", upstream="gpt-5-mini", alias_of="gpt-5-mini"),
        ),
        default_model="gpt-5",
        services=(ServiceStatus("chatgpt", "ChatGPT"), ServiceStatus("claude", "Claude")),
    )


def pending(code="AB12-CD34"):
    return PendingSignIn("s1", "copilot", "GitHub Copilot", code, "https://github.com/login/device")
