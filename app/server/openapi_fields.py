"""What the fields of bodies and the parameters in paths mean, for the API description."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["FIELDS", "PARAMETERS", "parameter_about"]

_MODELS = "Model for each role of the agent; those that it is connected with by default."
_CONSENT = "Version of the text that the user has agreed to."
_WAY = "One of the service's ways to sign in; its first by default."
_LABEL = "Label of a new account."
_REPAIR = "Account to repair, by label or id."
_EMAIL = "The same by its e-mail address."
_MEMORY = "Keep the sign-in in memory only; it ends with the program."
_HOST = "Host of the service, where it is one of a company's own."
_PROVIDERS = "Only these providers; all by default."
_ONLY_MODELS = "Only these models; `*` and `?` are wildcards."
_ACCOUNTS = "Only these accounts, as `provider/label`."
_LIMITS = "Texts such as `60/minute` or `5 usd/month`."
_DEFAULT = "What calls that name no model mean."
_ALIASES = "What calls with this key mean by a name."
_EXPIRES = "Epoch seconds."

FIELDS: Mapping[str, Mapping[str, str]] = {
    "SignInStartBody": {
        "way": _WAY,
        "account": _REPAIR,
        "label": _LABEL,
        "consent": _CONSENT,
        "host": _HOST,
        "memory_only": _MEMORY,
    },
    "SignInWantedBody": {
        "way": _WAY,
        "account": _REPAIR,
        "user_email": _EMAIL,
        "label": _LABEL,
        "consent": _CONSENT,
        "host": _HOST,
        "memory_only": _MEMORY,
    },
    "SignInStepBody": {
        "flow": "Id of the sign-in; not needed with `code` and `state`.",
        "text": "What the user pasted: the address that the browser came back to, or its code.",
        "secret": "What the user typed: a key, a token or a cookie.",
        "confirm": "`true` takes an account of another person than before.",
        "cancel": "`true` ends the sign-in.",
        "code": "What the service sent back.",
        "state": "Which sign-in it is for.",
    },
    "SentCredentialBody": {
        "secret": "The credential. It may be sent under any one of the next five names, too.",
        "api_key": "A service's key.",
        "token": "A long-lived token.",
        "cookie": "A cookie of the service's page.",
        "clerk_jwt_cookie": "A cookie, by the name that older clients use.",
        "jwt": "A token, by the name that older clients use.",
        "way": _WAY,
        "account": _REPAIR,
        "user_email": _EMAIL,
        "label": _LABEL,
        "consent": _CONSENT,
        "memory_only": _MEMORY,
    },
    "AccountChangeBody": {
        "paused": "For `pause`: `false` lets it go on.",
        "label": "For `rename`: the new label.",
        "version": "For `consent`: version of the text.",
        "order": "For `order`: a whole number; smaller ones come first.",
    },
    "PlaceWantedBody": {
        "place": "`window`, `browser`, `here` (the page that asks shows it itself) or `ours`.",
    },
    "ImportChoiceBody": {
        "key": "Which sign-in, as `GET /admin/imports` names it.",
        "label": _LABEL,
        "consent": _CONSENT,
        "from": "The folder that it was found in, where one was given.",
    },
    "AgentPlanBody": {
        "models": _MODELS,
        "undo": "`true` shows what disconnecting would change.",
    },
    "AgentChangeBody": {
        "shown": "`shown` of the plan that the user has seen.",
        "models": "The same as in the plan.",
    },
    "AgentTrialBody": {"models": _MODELS},
    "ServiceStartBody": {"consent": _CONSENT},
    "StudioOpeningBody": {
        "account": "As `home` or `aistudio/home`.",
        "consent": _CONSENT + " Not needed once there is a relay key.",
        "where": "A window, or the user's own browser.",
    },
    "RelayAppWantedBody": {
        "account": "As `home` or `aistudio/home`.",
        "consent": _CONSENT,
        "address": "Of the socket, where it is not reached at this machine's own address.",
        "key": "A relay key that there is already; without one a new key is made.",
    },
    "NewKeyBody": {
        "label": "What people call it.",
        "kind": "`client` (the default), `admin` or `relay`.",
        "expires_at": "When it ends by itself, in epoch seconds.",
        "providers": _PROVIDERS,
        "models": _ONLY_MODELS,
        "accounts": _ACCOUNTS,
        "limits": _LIMITS,
        "default_model": _DEFAULT,
        "aliases": _ALIASES,
    },
    "KeyChangesBody": {
        "label": "What people call it.",
        "expires_at": _EXPIRES,
        "providers": _PROVIDERS,
        "models": _ONLY_MODELS,
        "accounts": _ACCOUNTS,
        "limits": _LIMITS,
        "default_model": _DEFAULT,
        "aliases": _ALIASES,
    },
    "KeyRotationBody": {"keep_s": "For how many seconds the former secret is still taken."},
    "ReplayWantedBody": {"model": "Another model; the one that was asked for by default."},
    "QuestionBody": {
        "request": "A body as a client would send it.",
        "path": "The path that it would be sent to; found by the body's form by default.",
        "model": "The model that is asked for.",
        "tokens": "Length of the prompt; counted from `request` by default.",
        "stream": "Whether the answer is to be streamed.",
        "tools": "Names of tools.",
        "images": "Whether there are images.",
        "client": "Name of the calling program.",
        "key": "Label of the key that it is called with.",
        "headers": "Header fields of the call.",
        "conversation": "Name of the conversation; the same name keeps to one account.",
        "thinking": "`true`, `false`, or a level such as `high`.",
    },
    "RouteDraftBody": {
        "text": "The keys of `models` that decide where calls go, as YAML.",
        "question": "A call to explain under this text, as in `POST /admin/route/explain`. For `check` only.",
    },
    "SettingsChangesBody": {"changes": "Made in order, and all of them or none."},
    "SettingsChangeBody": {
        "key": 'Path of the key, such as `["logging", "level"]`.',
        "value": "The new value.",
        "remove": "`true` takes the key out, so that its default holds.",
    },
    "AccountView": {
        "id": "`provider/label`.",
        "title": "The service's name.",
        "state": "See [Accounts](accounts.md).",
        "reason": "Why it cannot serve; empty when it can.",
        "until": "When it is tried again.",
        "since": "When it became so.",
        "configured": "Written in the settings; else it was signed in to.",
        "need": "What a person has to do; empty for nothing.",
        "resting": "Models that it leaves alone for a time.",
        "name": "Who is signed in.",
        "way": "How it was signed in to.",
        "primary": "Tried before the others of its service.",
        "paused": "By its user.",
        "order": "Smaller ones are tried first.",
        "expires_at": "End of the present token, which is renewed before.",
        "renewable": "Whether its token can be renewed.",
        "next_renewal_at": "When its token is renewed next.",
        "warning": "What is wrong although it serves.",
    },
    "ModelRest": {
        "model": "The service's name of it.",
        "until": "When it is tried again; null: not before somebody acts.",
    },
    "Consent": {
        "version": "Date of the text; another version asks anew.",
        "text": "What the user reads and agrees to.",
        "instead": "The ways beside it.",
    },
    "Problem": {"path": "The file that could not be read.", "reason": "Why."},
    "Trace": {
        "asked": "The model that was asked for.",
        "models": "The models to try, in order.",
        "rule": "The rule that matched; empty for none.",
        "rules": "The rules that were asked, in order.",
        "notes": "What else had a say.",
        "candidates": "The accounts to try, in order.",
        "left_out": "The accounts that are not tried.",
        "error": "What the caller would be told in place of an answer; empty when it is served.",
    },
    "TraceCandidate": {
        "account": "Id of the account.",
        "model": "The service's name of the model.",
        "dialect": "The dialect that it would be asked in.",
        "step": "Which of `models` it is for, from 0.",
        "why": "How it was found and why it stands there.",
    },
    "LeftOut": {"account": "Id of the account.", "why": "Why it is not tried."},
    "Verdict": {
        "name": "The rule.",
        "matched": "Whether it decides.",
        "why": "The condition that failed; empty where all hold.",
    },
    "Finding": {
        "model": "Empty for the agent's own choice.",
        "verdict": "Whether the agent was answered.",
        "text": "What came of it, in a sentence.",
        "hint": "What to do about it.",
        "seconds": "How long it took.",
        "answer": "The end of what the agent printed.",
        "requests": "What of it reached Dragoman; null where that is not known.",
    },
    "Request": {
        "status": "Status of the answer.",
        "dialect": "Dialect of the request.",
        "error": "Code of the failure; empty for success.",
    },
    "SessionWantedBody": {"ticket": "From the address that `POST /admin/ticket` made."},
}
"""Component → field → words."""

PARAMETERS: Mapping[tuple[str, str], str] = {
    ("/v1/auth/", "name"): "Id of a service, such as `claude`, `codex` or `gemini`.",
    ("/v1/models/", "model"): "Name of the model; it may hold slashes.",
    ("/v1/responses/", "name"): "Id of the answer.",
    ("/models/", "token"): "From `GET /admin/models/address`.",
    ("/admin/accounts/flows/", "flow"): "Id of the sign-in.",
    ("/admin/accounts/", "provider"): "Id of a service.",
    ("/admin/accounts/", "account"): "Id of the account, `provider/label`; `%2F` for the slash "
    "works, too.",
    ("/admin/agents/", "name"): "Name of the agent, such as `claude` or `codex`.",
    ("/admin/aistudio/", "label"): "Label of the account.",
    ("/admin/help/", "name"): "Name of a page, or an error's code.",
    ("/admin/keys/", "name"): "Id of the key, its first letters, or its label.",
    ("/admin/requests/", "name"): "Id of the request, its `x-request-id`.",
    ("/admin/services/", "name"): "Name of the helper program.",
    ("/admin/static/", "name"): "Name of the file.",
    ("/help/", "name"): "Name of the page or file.",
    ("/v1beta/models/", "model"): "Name of the model.",
}
"""Beginning of the path and name of the parameter → words."""


def parameter_about(path: str, name: str) -> str:
    """Return what a parameter of a path means.

    Raises:
        KeyError: nobody has said it.
    """
    for (beginning, parameter), about in PARAMETERS.items():
        if parameter == name and path.startswith(beginning):
            return about
    raise KeyError(f"{name} in {path}")
