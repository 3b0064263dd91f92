"""A small registry in the form of models.dev, after the schema of anomalyco/models.dev."""

import copy
import json

MODEL = {
    "id": "claude-sonnet-4-5",
    "name": "Claude Sonnet 4.5",
    "family": "claude-sonnet",
    "attachment": True,
    "reasoning": True,
    "tool_call": True,
    "temperature": True,
    "knowledge": "2025-07-31",
    "release_date": "2025-09-29",
    "last_updated": "2025-09-29",
    "modalities": {"input": ["text", "image", "pdf"], "output": ["text"]},
    "open_weights": False,
    "cost": {"input": 3, "output": 15, "cache_read": 0.3, "cache_write": 3.75},
    "limit": {"context": 200_000, "output": 64_000},
}


def model(name, **changes):
    return copy.deepcopy(MODEL) | {"id": name, "name": name.title()} | changes


def provider(name, models, **more):
    return {
        "id": name,
        "name": name.title(),
        "env": [f"{name.upper()}_API_KEY"],
        "npm": f"@ai-sdk/{name}",
        "doc": f"https://{name}.example/docs",
        "models": {one["id"]: one for one in models},
        **more,
    }


def registry(*models, **providers):
    """The document: these models at Anthropic, and enough others for it to be believed."""
    filler = [model(f"filler-{i}", cost={"input": 1, "output": 2}) for i in range(25)]
    whole = {
        "anthropic": provider("anthropic", models or [MODEL]),
        "groq": provider("groq", filler),
        "strange": provider("strange", [model("only-there")]),
        **providers,
    }
    return json.dumps(whole).encode()
