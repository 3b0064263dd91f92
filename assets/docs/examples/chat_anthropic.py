"""Asks a model with Anthropic's own package: a message, a stream, and a count of tokens."""

import os

from anthropic import Anthropic

MODEL = os.environ.get("DRAGOMAN_MODEL", "demo-chat")
TALK = [{"role": "user", "content": "Say hello."}]

with Anthropic(
    base_url=os.environ.get("DRAGOMAN_URL", "http://localhost:8317"),
    api_key=os.environ.get("DRAGOMAN_KEY", "none"),  # the package wants one
) as client:
    answer = client.messages.create(model=MODEL, max_tokens=200, messages=TALK)
    print(answer.content[0].text)

    with client.messages.stream(model=MODEL, max_tokens=200, messages=TALK) as stream:
        for text in stream.text_stream:
            print(text, end="", flush=True)
    print()

    count = client.messages.count_tokens(model=MODEL, messages=TALK)
    print(count.input_tokens, "tokens asked")
