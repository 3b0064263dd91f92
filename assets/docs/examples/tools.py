"""Lets a model call a function of this program, with OpenAI's package."""

import json
import os

from openai import OpenAI

MODEL = os.environ.get("DRAGOMAN_MODEL", "demo-tools")


def weather(city):
    return {"city": city, "degrees": 21}


TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "The weather in a city now.",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}},
                "required": ["city"],
            },
        },
    }
]

with OpenAI(
    base_url=os.environ.get("DRAGOMAN_URL", "http://localhost:8317") + "/v1",
    api_key=os.environ.get("DRAGOMAN_KEY", "none"),
) as client:
    talk = [{"role": "user", "content": "How warm is it in Lisbon?"}]
    while True:
        answer = client.chat.completions.create(model=MODEL, messages=talk, tools=TOOLS)
        message = answer.choices[0].message
        if not message.tool_calls:
            print(message.content)
            break
        talk.append(message.model_dump(exclude_none=True))
        for call in message.tool_calls:
            result = weather(**json.loads(call.function.arguments))
            print("called", call.function.name, call.function.arguments)
            talk.append({"role": "tool", "tool_call_id": call.id, "content": json.dumps(result)})
