"""The models that a caller can use now, in the shapes that clients expect.

What is told of a model is merged from four places: the service's own list (that it is there, its
name, its sizes), the public registry and the shipped snapshot (sizes, modalities, reasoning, prices,
release), and the user's settings, which win.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from app.accounts.account import Account
from app.accounts.roster import AccountState
from app.canonical.parts import Json, JsonObject
from app.ledger.price import Rates
from app.routing.catalog import Catalog
from app.routing.snapshot import find
from app.server.guard import Grant
from app.upstream.modelsdev import Registry

__all__ = ["Facts", "ModelRow", "list_models", "render_models"]

_READY = AccountState("ready")


@dataclass(frozen=True, slots=True)
class ModelRow:
    """One model as listed."""

    id: str
    owned_by: str
    """Provider id of the first account that serves it."""
    accounts: tuple[str, ...] = ()
    """Labels of the accounts that serve it; empty for callers who may not see them."""
    display_name: str = ""
    created: int = 0
    """Epoch seconds of the model's release; 0 when not known."""
    context: int | None = None
    max_output: int | None = None
    upstream: str = ""
    """The service's own name for it."""
    dialect: str = ""
    """Which dialect the service speaks best for it."""
    reads: tuple[str, ...] = ()
    """Of text, image, audio, video, pdf; empty when not known, as is the next."""
    writes: tuple[str, ...] = ()
    reasoning: bool | None = None
    tools: bool | None = None
    rates: Rates = field(default_factory=Rates)
    """List prices."""
    until: float | None = None
    """Epoch seconds until which every account that has it is left alone; None: one can be asked."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known beside the catalog."""

    state: Callable[[Account, str], AccountState] = lambda _account, _model: _READY
    """How an account is for a model (the upstream's name) now."""
    registry: Registry = field(default_factory=Registry)
    rates: Callable[[str], Rates] = lambda _model: Rates()
    """Returns a model's list prices (the upstream's name)."""


def list_models(
    accounts: Sequence[Account],
    catalog: Catalog,
    grant: Grant,
    *,
    demo: bool,
    facts: Facts | None = None,
) -> list[ModelRow]:
    """Return the models in the caller's scope that can be used now.

    An account that somebody has to look after first (signed out, refused, switched off) lists
    nothing. One that only cools down lists its models still: it answers again by itself. The
    demo's models are there only while there is no account.

    Args:
        accounts: all accounts.
        catalog: what is known of models.
        grant: the caller's scope.
        demo: list the demo's models in any case.
        facts: what is known beside.
    """
    told = facts or Facts()
    serving = _serving(accounts, catalog, grant, told, demo=demo)

    def row_of(name: str, target: str) -> ModelRow | None:
        """Return the row of a name that means a model, where the caller may have it."""
        row: ModelRow | None = None
        for one in serving[target]:
            account = one.account
            # A name of the settings may be in a key's scope as well as what it stands for.
            if not any(grant.allows(account.provider.id, n, account.id) for n in {name, target}):
                continue
            label = (account.label,) if grant.key is None else ()
            if row is None:
                row = _row(one, name, catalog, told, label)
            else:
                row = replace(
                    row, accounts=row.accounts + label, until=_sooner(row.until, one.until)
                )
        return row

    found: dict[str, ModelRow] = {}
    for name, target in _names(serving, catalog):
        if (row := row_of(name, target)) is not None:
            found[name] = row
    for chain, models in catalog.chains.items():
        targets = (_target(model, serving, catalog.aliases) for model in models)
        rows = [row for name in targets if name is not None and (row := row_of(chain, name))]
        if rows and chain not in found:
            # Whoever waits for one of a chain's models is served by the next.
            until = None if any(row.until is None for row in rows) else rows[0].until
            found[chain] = replace(rows[0], display_name=chain, until=until)
    return list(found.values())


@dataclass(frozen=True, slots=True)
class _Serving:
    """An account that has a model."""

    account: Account
    public: str
    upstream: str
    until: float | None


def _serving(
    accounts: Sequence[Account], catalog: Catalog, grant: Grant, facts: Facts, *, demo: bool
) -> dict[str, list[_Serving]]:
    """Return each model's public name with the accounts in scope that can serve it now."""
    found: dict[str, list[_Serving]] = {}
    real = any(not account.provider.demo for account in accounts)
    for account in accounts:
        if not account.ready or (account.provider.demo and real and not demo):
            continue
        if not grant.allows(account.provider.id, None, account.id):
            continue
        for public, upstream in catalog.names(account).items():
            state = facts.state(account, upstream)
            if state.health in ("ready", "cooling"):
                until = None if state.health == "ready" or state.soft else state.until
                found.setdefault(public, []).append(_Serving(account, public, upstream, until))
    return found


def _sooner(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else min(one, other)


def _row(
    one: _Serving, name: str, catalog: Catalog, facts: Facts, label: tuple[str, ...]
) -> ModelRow:
    account, upstream = one.account, one.upstream
    provider = account.provider
    listed = catalog.facts(account, upstream)
    profile = catalog.profile(account, one.public, upstream)
    known = find(catalog.snapshot, upstream)
    reads: frozenset[str] = frozenset() if known is None else known.input
    if reads and profile.images != ("image" in reads):  # the service's list, or the settings
        reads = reads | {"image"} if profile.images else reads - {"image"}
    reasoning = None if known is None else known.reasoning
    if profile.reasoning != "unknown":
        reasoning = profile.reasoning != "none"
    told = (known is not None and known.tools is not None) or (
        listed is not None and listed.tools is not None
    )
    title = (listed.name if listed is not None else None) or facts.registry.title(upstream)
    return ModelRow(
        name,
        provider.id,
        label,
        title,
        facts.registry.released_at(upstream),
        profile.context,
        profile.max_output,
        upstream,
        provider.dialect_for(upstream, provider.dialects[0], listed),
        tuple(sorted(reads)),
        () if known is None else tuple(sorted(known.output)),
        reasoning,
        profile.tools if told or not profile.tools else None,
        facts.rates(upstream),
        one.until,
    )


def _names(known: Mapping[str, object], catalog: Catalog) -> Iterator[tuple[str, str]]:
    """Yield each name that may be asked for with the model that it means, aliases last."""
    yield from ((name, name) for name in known)
    for alias in catalog.aliases:
        target = _target(alias, known, catalog.aliases)
        if target is not None and alias not in known:
            yield alias, target


def _target(name: str, known: Mapping[str, object], aliases: Mapping[str, str]) -> str | None:
    """Return the model that a name of the settings means, in any form in which it may stand."""
    for _ in range(len(aliases) + 1):  # aliases of aliases, but no circle
        name = name.partition("(")[0]  # reasoning: model(high)
        if name in known:
            return name
        if name in aliases:
            name = aliases[name]
            continue
        while "/" in name:  # provider/model, provider/label/model
            name = name.partition("/")[2]
            if name in known:
                return name
        return None
    return None


def render_models(rows: Sequence[ModelRow], form: str, *, single: bool = False) -> JsonObject:
    """Return a model list, or its one model, as a dialect's clients read it.

    Sources: the list types of openai-python, anthropic-sdk-python and google-genai, 2026-11.
    """
    match form:
        case "anthropic":
            return _anthropic(rows, single)
        case "gemini":
            return _gemini(rows, single)
        case _:
            return _openai(rows, single)


def _openai(rows: Sequence[ModelRow], single: bool) -> JsonObject:
    data: list[Json] = []
    for row in rows:
        model: JsonObject = {
            "id": row.id,
            "object": "model",
            "created": row.created,
            "owned_by": row.owned_by,
        }
        if row.display_name:
            model["display_name"] = row.display_name
        if row.context is not None:
            model["max_input_tokens"] = row.context
        if row.max_output is not None:
            model["max_tokens"] = row.max_output
        if extra := _extra(row):
            model["x_dragoman"] = extra
        data.append(model)
    return _one(data) if single else {"object": "list", "data": data}


def _extra(row: ModelRow) -> JsonObject:
    """Return what no client's own types have; what is not known is left out."""
    rates = row.rates
    prices = {
        "input": rates.input,
        "cache_read": rates.cache_read,
        "cache_write": rates.cache_write,
        "output": rates.output,
    }
    found: dict[str, Json] = {
        "accounts": list(row.accounts),
        "reads": list(row.reads),
        "writes": list(row.writes),
        "reasoning": row.reasoning,
        "tools": row.tools,
        "prices": {name: price for name, price in prices.items() if price is not None},
        "cooling_until": row.until,
    }
    return {name: value for name, value in found.items() if value not in (None, [], {})}


def _anthropic(rows: Sequence[ModelRow], single: bool) -> JsonObject:
    data: list[Json] = []
    for row in rows:
        model: JsonObject = {
            "type": "model",
            "id": row.id,
            "display_name": row.display_name or row.id,
            "created_at": datetime.fromtimestamp(row.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "lifecycle": "active",  # what is listed can be called
        }
        if row.context is not None:
            model["max_input_tokens"] = row.context
        if row.max_output is not None:
            model["max_tokens"] = row.max_output
        data.append(model)
    if single:
        return _one(data)
    return {
        "data": data,
        "has_more": False,
        "first_id": rows[0].id if rows else None,
        "last_id": rows[-1].id if rows else None,
    }


def _gemini(rows: Sequence[ModelRow], single: bool) -> JsonObject:
    data: list[Json] = []
    for row in rows:
        model: JsonObject = {
            "name": f"models/{row.id}",
            "version": row.id,
            "displayName": row.display_name or row.id,
            "supportedGenerationMethods": ["generateContent", "countTokens"],
        }
        if row.context is not None:
            model["inputTokenLimit"] = row.context
        if row.max_output is not None:
            model["outputTokenLimit"] = row.max_output
        data.append(model)
    return _one(data) if single else {"models": data}


def _one(data: list[Json]) -> JsonObject:
    first = data[0]
    assert isinstance(first, dict)  # noqa: S101 - built above
    return first
