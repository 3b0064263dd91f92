"""Which account serves as accounts fail, cool down and come back: tables over a hand-moved clock.

A step is one of: ``("k", "one", …)`` asks within conversation "k", and these accounts are asked in
this order, the last of which serves; ``{"one": 429}`` makes an account answer so from then on, 200
mends it; ``{"left": {"one": 4}}`` sets the percent left of its quota; a number lets seconds pass.
"""

import pytest

from app.accounts.affinity import Affinity
from tests.fakes.basic import Answered
from tests.gateway.scripted import CHAT, JSON, Desk, account, ask_body, chat_whole, refusal

HOURS = 3_600

SCRIPTS = {
    "the first account serves what belongs to no conversation": [("", "one"), ("", "one")],
    "failover, and back after the stated wait": [
        {"one": 429},
        ("", "one", "two"),
        59,
        ("", "two"),
        {"one": 200},
        2,
        ("", "one"),
    ],
    "the third is asked when two fail": [{"one": 500, "two": 503}, ("", "one", "two", "three")],
    "a refused key rests until it is mended": [
        {"one": 401},
        ("", "one", "two"),
        ("", "two"),
    ],
    "a conversation stays where it began": [
        {"one": 429},
        ("k", "one", "two"),
        {"one": 200},
        61,
        ("k", "two"),
        ("new", "one"),
        ("k", "two"),
    ],
    "a conversation comes back to its first account when that returns": [
        ("k", "one"),
        {"one": 429},
        ("k", "one", "two"),
        30,
        ("k", "two"),
        {"one": 200},
        31,
        ("k", "one"),
        ("k", "one"),
    ],
    "it stays with the one that helped out while both have a cache and the first is away": [
        ("k", "one"),
        {"one": 429, "two": 500},
        ("k", "one", "two", "three"),
        {"two": 200},
        40,
        ("k", "three"),
    ],
    "after an hour away the helper owns it": [
        ("k", "one"),
        {"left": {"one": 0}},
        ("k", "two"),
        1_800,
        ("k", "two"),
        1_801,
        ("k", "two"),
        {"left": {"one": 100}},
        ("k", "two"),
        ("new", "one"),
    ],
    "an account near its end is left before it fails, by new conversations only": [
        ("k", "one"),
        {"left": {"one": 4}},
        ("k", "one"),
        ("new", "two"),
        {"left": {"one": 0}},
        ("k", "two"),
        {"left": {"one": 100}},
        ("k", "one"),
        ("new", "two"),
    ],
    "of accounts that are all low the usual order holds": [
        {"left": {"one": 4, "two": 3, "three": 2}},
        ("", "one"),
        {"left": {"three": 50}},
        ("", "three"),
    ],
    "one that is used up is still asked when nobody else is there": [
        {"left": {"one": 0}, "two": 429, "three": 429},
        ("", "two", "three", "one"),
    ],
    "a conversation of an hour ago begins anew": [
        {"one": 429},
        ("k", "one", "two"),
        {"one": 200},
        1 * HOURS + 1,
        ("k", "one"),
    ],
}


@pytest.mark.parametrize("name", SCRIPTS)
async def test_accounts_are_asked_in_this_order(name):
    status = dict.fromkeys(("one", "two", "three"), 200)
    left = dict.fromkeys(status, 100.0)
    asked = []

    def answer(request):
        fields = {key.lower(): value for key, value in request.headers}
        label = fields["authorization"].removeprefix("Bearer sk-")
        asked.append(label)
        if status[label] == 200:
            return Answered(200, JSON, chat_whole())
        return refusal(status[label], headers={"retry-after": "60"} if status[label] == 429 else {})

    desk = Desk(
        *(account(CHAT, label, ["m"]) for label in status),
        left_percent=lambda account_id, model: left[account_id.removeprefix("server/")],
    )
    desk.gateway.affinity = Affinity(desk.clock)
    for number, step in enumerate(SCRIPTS[name]):
        if isinstance(step, dict):
            left.update(step.get("left", {}))
            status.update({key: value for key, value in step.items() if key != "left"})
        elif isinstance(step, int):
            desk.clock.advance(step)
        else:
            conversation, *wanted = step
            asked.clear()
            desk.answers(*[answer] * len(wanted))
            more = {"prompt_cache_key": conversation} if conversation else {}
            client = await desk.ask(ask_body("openai_chat", "m", **more))
            assert (asked, client.status) == (wanted, 200), f"step {number}"
            assert desk.outcome.account == f"server/{wanted[-1]}"
