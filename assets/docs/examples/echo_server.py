"""A model server in a few lines: it speaks OpenAI Chat and says what it was told.

Start it, and name it in Dragoman's settings as `provider.yaml` does.
"""

import json
import os
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Echo(BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(200, {"object": "list", "data": [{"id": "echo-1", "object": "model"}]})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.path.endswith("/chat/completions"):
            self.answer(404, {"error": {"message": "There is no such route."}})
            return
        last = body["messages"][-1]["content"]
        text = last if isinstance(last, str) else " ".join(part["text"] for part in last)
        about = {"id": "echo", "created": int(time.time()), "model": body["model"]}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        if body.get("stream"):
            self.stream(about | {"object": "chat.completion.chunk"}, text, usage)
            return
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        whole = {"object": "chat.completion", "choices": [choice], "usage": usage}
        self.answer(200, about | whole)

    def stream(self, about, text, usage):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        ends = [({"role": "assistant", "content": text}, None), ({}, "stop")]
        for delta, reason in ends:
            choice = {"index": 0, "delta": delta, "finish_reason": reason}
            self.event(about | {"choices": [choice]})
        self.event(about | {"choices": [], "usage": usage})
        self.wfile.write(b"data: [DONE]\n\n")

    def event(self, value):
        self.wfile.write(b"data: " + json.dumps(value).encode() + b"\n\n")

    def answer(self, status, value):
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


if __name__ == "__main__":
    with ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "9100"))), Echo) as server:
        print(f"listening at http://127.0.0.1:{server.server_port}/v1", flush=True)
        server.serve_forever()
