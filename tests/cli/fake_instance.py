"""An instance that answers from a table; also a program that stands in for ``serve``."""

import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec

from app import __version__
from app.instance import Instance
from app.paths import Paths

HEALTH = {
    "status": "ok",
    "state": "running",
    "version": __version__,
    "uptime_s": 3_725.0,
    "address": "http://localhost:8317",
    "keys": "ready",
    "providers": [
        {"id": "demo", "title": "Demo", "accounts": [{"id": "demo/demo", "label": "demo"}]}
    ],
    "config": {"path": "config.yaml", "why": "default", "problems": [], "warnings": []},
}
HEALTH["providers"][0]["accounts"][0].update(state="ready", reason="", until=None)


def account(name, state="ready", reason="", until=None):
    return {"id": name, "label": name.split("/")[1], "state": state, "reason": reason} | {
        "until": until
    }


def provider(name, *accounts):
    return {"id": name, "title": name.title(), "accounts": list(accounts)}


def model(name, owned_by, *accounts):
    return {"id": name, "owned_by": owned_by, "x_dragoman": {"accounts": list(accounts)}}


def events(*chunks, done=True):
    """Return a streamed answer; an item may be a delta's text, an event, or bytes as they are."""
    lines = []
    for chunk in chunks:
        if isinstance(chunk, str):
            chunk = {"choices": [{"delta": {"content": chunk}}]}
        data = chunk if isinstance(chunk, bytes) else b"data: " + msgspec.json.encode(chunk)
        lines.append(data + b"\n\n")
    return b"".join(lines) + (b"data: [DONE]\n\n" if done else b"")


class FakeInstance:
    """Holds the lock, publishes its port, and answers what ``answers`` says until closed.

    ``answers`` maps ``"GET /path"`` to a body, to (status, body), or to a function of the request's
    body that returns one of these. ``asked`` has (method, path, authorization, body) of each call.
    """

    def __init__(self, paths, port=0):
        self.answers = {
            "GET /healthz": {"status": "ok"},
            "GET /v1/health": HEALTH,
            "GET /v1/models": {"object": "list", "data": [model("demo-chat", "demo", "demo")]},
            "POST /v1/chat/completions": events("ready"),
            "POST /admin/stop": {"stopping": True},
        }
        self.asked = []
        self.stopped = threading.Event()
        self._instance = Instance.acquire(paths.data, paths.runtime)
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                fake.answer(self)

            do_POST = do_GET

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.port = self._server.server_address[1]
        self.record = self._instance.publish(self.port)

    def answer(self, handler):
        length = int(handler.headers.get("Content-Length") or 0)
        body = handler.rfile.read(length)
        call = f"{handler.command} {handler.path}"
        self.asked.append(
            (handler.command, handler.path, handler.headers.get("Authorization"), body)
        )
        found = self.answers.get(call, (404, {"error": {"message": "No such route."}}))
        if callable(found):
            found = found(msgspec.json.decode(body) if body else None)
        status, content = found if isinstance(found, tuple) else (200, found)
        if not isinstance(content, bytes):
            content = msgspec.json.encode(content)
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)
        if call == "POST /admin/stop" and status == 200:
            self._instance.release()
            self.stopped.set()

    def close(self):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._instance.release()


def main():
    """Serve as the program would with ``serve --background`` and the rest of these words."""
    words = sys.argv[1:]
    assert words[:2] == ["serve", "--background"], words
    if "--fail" in words:
        sys.exit("noise before\nerror: The port is taken.\nhint: Take another.")
    if "--taken" in words:
        sys.exit("error: It is taken.\nhint: Stop it.\nhelp: dragoman help port_in_use")
    if "--crash" in words:
        sys.exit("something broke")
    fake = FakeInstance(Paths.find(os.environ))
    fake.answers["GET /healthz"] = {"status": "ok", "words": words}
    if "--hang" in words:
        fake.stopped.wait(30)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    fake.stopped.wait(30)
    fake.close()


if __name__ == "__main__":
    main()
