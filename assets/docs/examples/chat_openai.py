"""Asks a model with OpenAI's own package: Chat, a stream, and the Responses API."""

import os

from openai import OpenAI

MODEL = os.environ.get("DRAGOMAN_MODEL", "demo-chat")

with OpenAI(
    base_url=os.environ.get("DRAGOMAN_URL", "http://localhost:8317") + "/v1",
    api_key=os.environ.get("DRAGOMAN_KEY", "none"),  # the package wants one
) as client:
    answer = client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "Say hello."}]
    )
    print(answer.choices[0].message.content)

    with client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "Say it again."}], stream=True
    ) as stream:
        for chunk in stream:
            for choice in chunk.choices:
                print(choice.delta.content or "", end="", flush=True)
    print()

    first = client.responses.create(model=MODEL, input="My name is Ada.")
    second = client.responses.create(
        model=MODEL, input="What is my name?", previous_response_id=first.id
    )
    print(second.output_text)
