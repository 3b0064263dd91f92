"""A fake of EngineLabs' API: the page's chat over POST and WebSocket, and the command line's.

``CtoNew`` serves it together with ``Clerk`` on one address. Frames go to sockets that are open and
to nobody else; an answer is written with the model that the account prefers when the prompt comes.
From the protocol notes (2026 form of the chat).
"""

import asyncio
import base64
import binascii
import json

import tornado.netutil
import tornado.web
import tornado.websocket

from tests.fakes.clerk import PAGE, jwt
from tests.fakes.openai_chat import OpenAIChat
from tests.fakes.service import KEY, Call, Refusal, Reply, Service, bearer, dump
from tests.fakes.upstream import Upstream, _Handler, _Server

IDLE = {"type": "state", "state": {"inProgress": False, "cancelled": False, "taskId": None}}
BUSY = {"type": "state", "state": {"inProgress": True, "cancelled": False, "taskId": "task_1"}}
STREAM = r"/engine-agent/chat-histories/([^/]+)/buffer/stream"
CLI_LIFE_S = 900


def update(message, as_text=True):
    """Return an update frame; its message is JSON text, or an object."""
    return {"type": "update", "buffer": json.dumps(message) if as_text else message}


def said(text, name="msg_1", kind="chat", as_text=True):
    """Return the frame of a piece of the answer."""
    message = {"id": name, "role": "assistant", "type": kind, "chat": {"content": text}}
    return update(message, as_text)


class EngineLabs(Service):
    """See the module. ``clerk`` is the fake that gives out the page's tokens."""

    name = "enginelabs"

    def __init__(self, clerk):
        super().__init__()
        self.clerk = clerk
        self.now = clerk.now
        self.adapters = [
            _adapter("gpt_5_4", "GPT-5.4"),
            _adapter("ClaudeSonnet4_5", "Claude Sonnet 4.5"),
            _adapter("glm_5_1", "GLM 5.1", enabled=False),
        ]
        self.preferred = {}
        """User → key of the model."""
        self.projects = {}
        """Id → (user, workspace)."""
        self.deleted = []
        self.prompts = []
        """(Model, prompt) of each chat."""
        self.usage = {"dailyUsage": 30, "dailyLimit": 300, "weeklyUsage": 450, "weeklyLimit": 900}
        self.reached = False
        self.refuses = {}
        """Path → (status, body) to answer with."""
        self.between = None
        """Awaited between a chosen model and the prompt that follows."""
        self.frames = None
        """Frames to answer with in the place of the usual ones: objects, texts, ``CLOSE``, or
        functions to await."""
        self.early_closes = 0
        """How many sockets to close before the answer begins."""
        self.sockets = []
        self.opened = 0
        self.pongs = 0
        self.ponged = asyncio.Event()
        self.pings_again = False
        """Whether each ``pong`` is followed by a ``ping``."""
        self.settled = asyncio.Event()
        """Set when a socket was opened that is not closed at once."""
        self.left = asyncio.Event()
        """Set when a socket was closed by the other side."""
        self.cleaned = asyncio.Event()
        self.cli_tokens = {}
        """Access token of the command line → end."""
        self.refresh_tokens = set()
        self.sessions = []
        """``x-session-id`` of each chat of the command line."""
        self._chat = _AnyModel()

    def cli_file(self, life_s=CLI_LIFE_S):
        """Return the content of the command line's file after a sign-in."""
        access, refresh = self._cli_tokens(life_s)
        ends = int((self.now() + life_s) * 1000)
        return json.dumps({"accessToken": access, "refreshToken": refresh, "expiresAt": ends})

    def _cli_tokens(self, life_s):
        access = jwt({"sub": "user_cli", "email": "cli@example.com", "n": self.new_id("", 8)})
        refresh = self.new_id("refresh_", 24)
        self.cli_tokens[access] = self.now() + life_s
        self.refresh_tokens.add(refresh)
        return access, refresh

    def claims(self, call):
        return not call.path.startswith("/v1/")

    def failure(self, kind, status=None, retry_s=None, message=None):
        return Refusal(status or 500, {"message": message or kind})

    def answer(self, call):
        if call.path in self.refuses:
            status, body = self.refuses[call.path]
            raise Refusal(status, body)
        if call.path == "/oauth/token":
            return self._refresh(call)
        token = bearer(call.headers)
        if call.path in ("/models", "/chat/completions"):
            return self._cli(call, token)
        browser, end = self.clerk.issued.get(token, (None, 0))
        if browser is None or self.now() >= end:
            raise Refusal(401, {"message": "Unauthorized", "statusCode": 401})
        if call.headers.get("origin") != PAGE:
            raise Refusal(403, {"message": "Forbidden", "statusCode": 403})
        answers = {
            ("GET", "/billing"): self._billing,
            ("GET", "/chat/adapters"): self._list,
            ("PATCH", "/teams/preferred-model"): self._prefer,
            ("POST", "/projects/create-hosted"): self._create,
            ("POST", "/engine-agent/chat"): self._ask,
        }
        if (call.method, call.path) in answers:
            return answers[call.method, call.path](call, browser)
        prefix = "/engine-agent/chat-histories/"
        if call.method == "DELETE" and call.path.startswith(prefix):
            return self._delete(call.path.removeprefix(prefix), browser)
        raise Refusal(404, {"message": f"Cannot {call.method} {call.path}", "statusCode": 404})

    def _json(self, body, status=200):
        return Reply(status, {"content-type": "application/json"}, dump(body))

    # -- the page

    def _billing(self, _call, _browser):
        return self._json(
            {**self.usage, "hasReachedLimit": self.reached, "limitReached": self.reached}
        )

    def _list(self, _call, _browser):
        return self._json({"chatAdapters": self.adapters})

    def _prefer(self, call, browser):
        key = call.json.get("modelKey")
        if not any(row["key"] == key and row["enabled"] for row in self.adapters):
            raise Refusal(400, {"message": f"Unknown model {key}", "statusCode": 400})
        self.preferred[browser.user] = key
        return self._json({"ok": True})

    def _create(self, call, browser):
        if not call.json.get("projectName"):
            raise Refusal(400, {"message": "projectName must not be empty", "statusCode": 400})
        project = self.new_id("project-", 12)
        self.projects[project] = (browser.user, f"workspace-{browser.user}")
        return self._json(
            {
                "projectId": project,
                "projectShortCode": "ABC",
                "workspaceId": f"workspace-{browser.user}",
                "workspaceName": "Mine",
            },
            201,
        )

    def _ask(self, call, browser):
        if self.reached:
            raise Refusal(402, {"message": "Daily limit reached", "statusCode": 402})
        body = call.json
        project = body.get("chatHistoryId")
        if project not in self.projects or body.get("encoded") is not True:
            raise Refusal(400, {"message": "Bad Request", "statusCode": 400})
        try:
            prompt = base64.b64decode(body["prompt"], validate=True).decode()
        except (KeyError, binascii.Error, UnicodeDecodeError) as error:
            raise Refusal(400, {"message": "prompt", "statusCode": 400}) from error
        model = self.preferred.get(browser.user)
        self.prompts.append((model, prompt))
        frames = self.frames if self.frames is not None else _usual(model, prompt)
        asyncio.get_running_loop().create_task(self._tell(project, frames))
        return Reply(202, {}, b"")

    async def _tell(self, project, frames):
        for frame in frames:
            if callable(frame):
                await frame()
                continue
            for socket in [s for s in self.sockets if s.project == project]:
                if frame is CLOSE:
                    socket.close()
                else:
                    await socket.say(frame)

    def _delete(self, project, browser):
        if self.projects.get(project, ("",))[0] != browser.user:
            raise Refusal(404, {"message": "Not Found", "statusCode": 404})
        del self.projects[project]
        self.deleted.append(project)
        self.cleaned.set()
        return Reply(204, {}, b"")

    # -- the command line

    def _refresh(self, call):
        body = call.json
        token = body.get("refresh_token")
        if body.get("grant_type") != "refresh_token" or token not in self.refresh_tokens:
            raise Refusal(400, {"error": "invalid_grant", "error_description": "unknown token"})
        self.refresh_tokens.remove(token)
        access, refresh = self._cli_tokens(CLI_LIFE_S)
        return self._json(
            {"access_token": access, "refresh_token": refresh, "expires_in": CLI_LIFE_S}
        )

    def _cli(self, call, token):
        if self.now() >= self.cli_tokens.get(token, 0):
            raise Refusal(401, {"error": {"message": "Unauthorized", "type": "invalid_request"}})
        if call.path == "/models":
            rows = [{"id": row["key"], "object": "model"} for row in self.adapters]
            return self._json({"object": "list", "data": rows})
        self.sessions.append(
            (call.headers.get("x-session-id"), call.headers.get("x-session-affinity"))
        )
        fields = {key.lower(): value for key, value in call.headers.items()}
        fields["authorization"] = f"Bearer {KEY}"
        return self._chat.answer(Call("POST", "/v1/chat/completions", {}, fields, call.body))


CLOSE = object()
"""A scripted frame: the server closes the socket."""


class _AnyModel(OpenAIChat):
    def check_model(self, model):
        if model.startswith("ctonew-"):
            raise self._refusal(404, f"no model {model}", "model", "model_not_found")


def _adapter(key, model, enabled=True):
    return {
        "key": key,
        "model": model,
        "engineAgentKey": "agent",
        "provider": "x",
        "minimumTier": "free",
        "enabled": enabled,
        "usageMultiplier": 3,
        "supportsImages": True,
    }


def _usual(model, prompt):
    """Return the frames of an answer: echo, thought, text in both forms of buffer, signs of life."""
    return [
        BUSY,
        update({"role": "user", "type": "chat", "chat": {"content": prompt}, "id": "msg_0"}),
        said("let me ", kind="thinking"),
        "ping",
        said("think", kind="thinking", as_text=False),
        said(f"{model} "),
        {"type": "label", "label": "A title"},
        said("says: ", as_text=False),
        said(prompt[-40:]),
        IDLE,
    ]


class _Socket(tornado.websocket.WebSocketHandler):
    def initialize(self, labs):
        self.labs = labs
        self.project = None

    def check_origin(self, origin):
        return origin == PAGE

    async def prepare(self):
        labs = self.labs
        project = self.path_args[0]
        user, workspace = labs.projects.get(project, ("", ""))
        browser = next((b for b in labs.clerk.browsers if b.user == user), None)
        token = f"{user}:{browser.organization}" if browser and browser.organization else user
        wrong = (
            browser is None
            or self.get_query_argument("token", "") != token
            or self.get_query_argument("workspaceId", "") != workspace
            or not self.request.headers.get("cookie", "").startswith("__client=")
        )
        refusal = labs.refuses.get("socket", (401, {}) if wrong else None)
        if refusal is not None:
            self.set_status(refusal[0])
            self.finish(dump(refusal[1]))

    async def open(self, project):
        self.project = project
        self.labs.opened += 1
        self.labs.sockets.append(self)
        await self.say(IDLE)
        await self.say({"type": "history", "messages": []})
        if self.labs.early_closes:
            self.labs.early_closes -= 1
            self.close()
        else:
            self.labs.settled.set()

    async def say(self, frame):
        try:
            await self.write_message(frame if isinstance(frame, str) else json.dumps(frame))
        except tornado.websocket.WebSocketClosedError:
            return

    async def on_message(self, message):
        if message == "pong":
            self.labs.pongs += 1
            self.labs.ponged.set()
            if self.labs.pings_again:
                await self.say("ping")

    def on_close(self):
        if self in self.labs.sockets:
            self.labs.sockets.remove(self)
        self.labs.left.set()


class CtoNew(Upstream):
    """Serves Clerk and EngineLabs; an async context manager as ``Upstream``."""

    def __init__(self, clerk, labs):
        super().__init__(clerk, labs)
        self.clerk = clerk
        self.labs = labs

    async def start(self, port=0):
        application = tornado.web.Application(
            [(STREAM, _Socket, {"labs": self.labs}), (r".*", _Handler, {"upstream": self})],
            log_function=lambda handler: None,
        )
        sockets = tornado.netutil.bind_sockets(port, "127.0.0.1")
        self.port = sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._server = _Server(application)
        self._server.upstream = self
        self._server.add_sockets(sockets)

    async def stop(self):
        for socket in list(self.labs.sockets):
            socket.close()
        await super().stop()
