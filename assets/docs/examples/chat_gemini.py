"""Asks a model with Google's own package: an answer, a stream, and a count of tokens."""

import os

from google import genai

MODEL = os.environ.get("DRAGOMAN_MODEL", "demo-chat")

with genai.Client(
    api_key=os.environ.get("DRAGOMAN_KEY", "none"),  # the package wants one
    http_options={"base_url": os.environ.get("DRAGOMAN_URL", "http://localhost:8317")},
) as client:
    answer = client.models.generate_content(model=MODEL, contents="Say hello.")
    print(answer.text)

    for chunk in client.models.generate_content_stream(model=MODEL, contents="Say it again."):
        print(chunk.text or "", end="", flush=True)
    print()

    count = client.models.count_tokens(model=MODEL, contents="Say hello.")
    print(count.total_tokens, "tokens asked")
