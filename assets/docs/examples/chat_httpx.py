"""Asks a model with httpx: once for the whole answer, once as a stream."""

import json
import os

import httpx

ADDRESS = os.environ.get("DRAGOMAN_URL", "http://localhost:8317")
MODEL = os.environ.get("DRAGOMAN_MODEL", "demo-chat")
KEY = os.environ.get("DRAGOMAN_KEY", "none")  # not looked at for your own programs on this machine


def body(text, *, stream):
    return {"model": MODEL, "stream": stream, "messages": [{"role": "user", "content": text}]}


with httpx.Client(
    base_url=ADDRESS, headers={"Authorization": f"Bearer {KEY}"}, timeout=300
) as client:
    reply = client.post("/v1/chat/completions", json=body("Say hello.", stream=False))
    if reply.is_error:
        raise SystemExit(reply.json()["error"]["message"])
    print(reply.json()["choices"][0]["message"]["content"])
    print("served by", reply.headers["x-dragoman-route"])

    with client.stream(
        "POST", "/v1/chat/completions", json=body("Say it again.", stream=True)
    ) as answer:
        if answer.is_error:
            answer.read()
            raise SystemExit(answer.json()["error"]["message"])
        for line in answer.iter_lines():
            data = line.removeprefix("data: ")
            if not line.startswith("data: ") or data == "[DONE]":
                continue
            for choice in json.loads(data)["choices"]:
                print(choice["delta"].get("content") or "", end="", flush=True)
        print()
