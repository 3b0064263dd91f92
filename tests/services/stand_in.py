"""A stand-in for a helper program: ``python stand_in.py PORT [MANNER …]``.

It reads one line of JSON and answers ``/v1/models`` and chats as g4f's server does. Manners:
``crash`` ends at once with code 7; ``wait:FILE`` listens only when the file is there; ``deaf`` does
not hear a polite request to end; ``child`` starts a process of its own and prints its number;
``sick:FILE`` answers 500 while the file is there.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def say(*words):
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


class Handler(BaseHTTPRequestHandler):
    key = ""
    manners = frozenset()

    def log_message(self, *_):
        pass

    def reply(self, status, body, kind="application/json"):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def refused(self):
        if self.key and self.headers.get("Authorization") != f"Bearer {self.key}":
            self.reply(401, {"error": {"message": "Not authenticated"}})
            return True
        return False

    def do_GET(self):
        if "sick" in self.manners and os.path.exists(self.manners["sick"]):
            self.reply(500, {"error": {"message": "unwell"}})
        elif not self.refused():
            rows = [
                {"id": "small", "object": "model", "provider": False, "vision": True},
                {"id": "agent-tools", "object": "model", "provider": False},
                {"id": "SomeSite", "object": "model", "provider": True},
            ]
            self.reply(200, {"object": "list", "data": rows})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.refused():
            return
        text = body["messages"][-1]["content"]
        if text == "fail":
            self.reply(500, {"error": {"message": "Request execution failed"}})
            return
        head = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": body["model"]}
        if body.get("stream"):
            say = {"index": 0, "delta": {"role": "assistant", "content": text[::-1]}}
            chunks = [{**head, "provider": "SomeSite", "choices": [say]}]
            if text == "break":
                chunks.append({"error": {"message": "the site hung up"}})
            else:
                chunks.append(
                    {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
                )
            lines = [f"data: {json.dumps(chunk)}\n\n".encode() for chunk in chunks]
            self.reply(200, b"".join([*lines, b"data: [DONE]\n\n"]), "text/event-stream")
            return
        message = {"role": "assistant", "content": text[::-1]}
        answer = {**head, "object": "chat.completion", "provider": "SomeSite"}
        self.reply(
            200, {**answer, "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
        )


def serve(port, key, manners):
    Handler.key, Handler.manners = key, manners
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    say("listening")
    server.serve_forever()


def main():
    port = int(sys.argv[1])
    manners = dict(word.partition(":")[::2] for word in sys.argv[2:])
    given = json.loads(sys.stdin.readline() or "{}")
    say("given", json.dumps(given, sort_keys=True))
    threading.Thread(target=follow_life_line, daemon=True).start()
    if "crash" in manners:
        say("cannot go on")
        sys.exit(7)
    if "deaf" in manners:
        signal.signal(signal.SIGTERM, lambda *_: say("I do not listen"))
    if "child" in manners:
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        say("child", child.pid)
    while "wait" in manners and not os.path.exists(manners["wait"]):
        time.sleep(0.01)
    serve(port, given.get("key", ""), manners)


def follow_life_line():
    while sys.stdin.read(4096):
        pass
    os._exit(0)


if __name__ == "__main__":
    main()
