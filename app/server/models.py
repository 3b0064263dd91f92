"""The model list in the shapes that clients expect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from app.accounts.account import Account
from app.canonical.parts import Json, JsonObject
from app.routing.catalog import Catalog
from app.server.guard import Grant

__all__ = ["ModelRow", "list_models", "render_models"]


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


def list_models(
    accounts: Sequence[Account], catalog: Catalog, grant: Grant, *, demo: bool
) -> list[ModelRow]:
    """Return the models in the caller's scope; the demo's only while there is no account.

    Args:
        accounts: all accounts.
        catalog: what is known of models.
        grant: the caller's scope.
        demo: list the demo's models in any case.
    """
    rows: dict[str, ModelRow] = {}
    real = any(not account.provider.demo for account in accounts)
    for account in accounts:
        if not account.enabled or (account.provider.demo and real and not demo):
            continue
        for public, upstream in catalog.names(account).items():
            if not grant.allows(account.provider.id, public, account.id):
                continue
            row = rows.get(public)
            label = (account.label,) if grant.key is None else ()
            if row is not None:
                rows[public] = replace(row, accounts=row.accounts + label)
                continue
            facts = catalog.facts(account, upstream)
            profile = catalog.profile(account, public, upstream)
            rows[public] = ModelRow(
                public,
                account.provider.id,
                label,
                (facts.name if facts is not None else None) or "",
                0,
                profile.context,
                profile.max_output,
            )
    for alias, target in catalog.aliases.items():
        found = rows.get(target)
        if found is not None and alias not in rows:
            rows[alias] = replace(found, id=alias)
    return list(rows.values())


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
        if row.accounts:
            model["x_dragoman"] = {"accounts": list(row.accounts)}
        data.append(model)
    return _one(data) if single else {"object": "list", "data": data}


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
