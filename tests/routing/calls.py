"""Calls as rules see them, and rules as the settings write them."""

import textwrap

from app.canonical.parts import Media, Text
from app.canonical.request import ChatRequest, Message, ReasoningConfig, Tool
from app.configtext import load
from app.routing.facts import RequestFacts, TokensWanted
from app.routing.rules import compile_rules, decide


def chat(
    text="hello", *, tools=(), images=False, reasoning=None, system="", more=(), model="gpt-5"
):
    parts = (Text(text), Media("image", url="https://x.test/a.png")) if images else (Text(text),)
    return ChatRequest(
        model,
        (Message("user", parts), *more),
        system=(Text(system),) if system else (),
        tools=tuple(Tool(name) for name in tools),
        reasoning=reasoning,
    )


class Counted:
    """Counts how often it was asked."""

    def __init__(self, number):
        self.number = number
        self.asked = 0

    def __call__(self):
        self.asked += 1
        if self.number is None:
            raise TokensWanted
        return self.number


def facts(model="gpt-5", *, request=None, tokens=None, **fields):
    body = chat() if request is None else request
    counter = tokens if isinstance(tokens, Counted) else Counted(tokens)
    return RequestFacts(model, request=lambda: body, tokens=counter, **fields)


def models(text):
    """The section ``models`` of settings in YAML."""
    return load("models:\n" + textwrap.indent(textwrap.dedent(text), "  "), "f", {}).models


def rules(text, custom=None):
    return compile_rules(models(text), custom)


def decided(text, call, custom=None, known=None):
    return decide(call, rules(text, custom), known)


def thinking(**fields):
    return chat(reasoning=ReasoningConfig(**fields))
