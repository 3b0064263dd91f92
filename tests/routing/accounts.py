"""Providers and accounts for the routing tests, and plans made of them."""

from app.accounts.account import Account
from app.accounts.roster import AccountState
from app.providers import PROVIDERS as BUILT_IN
from app.providers import compatible
from app.providers.base import ModelFacts
from app.providers.demo import DEMO_MODELS
from app.routing.catalog import Catalog
from app.routing.chains import Names, expand
from app.routing.explain import plan_decision
from app.routing.plan import make_plan
from app.routing.rules import Decision

OPENROUTER = compatible("openrouter", "openai_chat", "https://openrouter.test/api/v1")
PROVIDERS = {**BUILT_IN, "openrouter": OPENROUTER}
READY = AccountState("ready")


def account(account_id, **changes):
    """Return an account named ``provider/label``."""
    provider = PROVIDERS[account_id.partition("/")[0]]
    label = account_id.partition("/")[2]
    return Account(account_id, provider, label, provider.base_url, **changes)


def demo():
    return account("demo/demo")


def catalog(listed=(), **changes):
    """Return a catalog; ``listed`` maps account ids to names, and the demo lists its own."""
    names = {"demo/demo": DEMO_MODELS, **dict(listed)}
    return Catalog({i: {n: ModelFacts(n) for n in found} for i, found in names.items()}, **changes)


def plan_for(
    model,
    accounts,
    known=None,
    *,
    client="openai_chat",
    states=None,
    allows=lambda *_: True,
    rank=lambda *_: (0, ""),
):
    """Return the plan; ``states`` maps account ids, or (id, model), to states other than ready."""
    states = states or {}
    return make_plan(
        model,
        client,
        accounts,
        catalog() if known is None else known,
        lambda a, m: states.get((a.id, m), states.get(a.id, READY)),
        allows,
        rank,
    )


def plan_name(model, accounts, known, *, client="openai_chat", states=None, allows=None, rank=None):
    """Return the plan for a name of the settings, written out first; else as ``plan_for``."""
    states = states or {}
    names = Names(known.aliases, known.chains, {}, known.default)
    return plan_decision(
        Decision(model, expand(model, names)),
        client,
        accounts,
        known,
        lambda a, m: states.get((a.id, m), states.get(a.id, READY)),
        allows or (lambda *_: True),
        rank or (lambda *_: (0, "")),
    )


def tried(plan):
    """Return (account id, upstream model) of each candidate in order."""
    return [(c.account.id, c.model) for c in plan.candidates]
