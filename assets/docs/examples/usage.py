"""Prints what was used by model, with a key that may look: `dragoman keys create --admin`."""

import os

import httpx

with httpx.Client(
    base_url=os.environ.get("DRAGOMAN_URL", "http://localhost:8317"),
    headers={"Authorization": f"Bearer {os.environ['DRAGOMAN_KEY']}"},
    timeout=60,
) as client:
    reply = client.get("/admin/usage", params={"by": "model", "since": "30d"})
    if reply.is_error:
        raise SystemExit(reply.json()["error"]["message"])
    report = reply.json()

for row in [*report["rows"], report["total"] | {"name": "all"}]:
    print(f"{row['requests']:6} requests {row['tokens']:10} tokens  {row['name']}")
