"""Every route that is not inference: health, models, stored responses, control."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol, TypeAlias

import msgspec
from tornado.httputil import HTTPServerRequest
from tornado.web import Application, RequestHandler

from app.canonical.failure import failure_of
from app.canonical.parts import DialectName
from app.dialects.base import Dialect
from app.errors import AppError, RequestError
from app.gateway.refusal import with_help
from app.keys import KeyRecord
from app.server.caller import Access, cors
from app.server.guard import Grant, Kind
from app.server.models import ModelRow, render_models

__all__ = ["Control", "Page", "Takes", "page_routes"]

Takes: TypeAlias = Mapping[str, type[Any]]
"""Model of the JSON body that a method takes, by the method's name in small letters."""


class Control(Protocol):
    """What these routes ask of the program; ``service`` answers."""

    access: Access

    @property
    def dialects(self) -> Mapping[DialectName, Dialect]:
        """Return the dialects by name."""
        ...

    @property
    def new_id(self) -> Callable[[str], str]:
        """Return what makes ids."""
        ...

    def health(self, grant: Grant) -> dict[str, Any]:
        """Return the body of ``GET /v1/health``, limited to the caller's scope."""
        ...

    def models(self, grant: Grant, *, demo: bool) -> list[ModelRow]:
        """Return the models in the caller's scope."""
        ...

    def metrics(self, grant: Grant) -> bytes:
        """Return the metrics in the caller's scope, in Prometheus' text form."""
        ...

    def stored_response(self, owner: str, name: str) -> bytes:
        """Return a remembered Responses answer; ``RequestError`` 404 when unknown."""
        ...

    def forget_response(self, owner: str, name: str) -> None:
        """Drop a remembered Responses answer; ``RequestError`` 404 when unknown."""
        ...

    def stop(self) -> None:
        """Begin to shut down."""
        ...

    async def reload(self) -> dict[str, Any]:
        """Read the settings again; ``{"changed": bool, "problems": [str]}``."""
        ...

    async def list_keys(self) -> list[KeyRecord]:
        """Return all keys."""
        ...


class Page(RequestHandler):
    """A route with its access rule; errors take the form of the caller's dialect."""

    kind: ClassVar[Kind] = "inference"
    takes: ClassVar[Takes] = {}
    control: Control
    grant: Grant
    request_id: str

    def initialize(self, control: Control) -> None:
        """Take what the routes share."""
        self.control = control
        self.request_id = control.new_id("req_")
        self.set_default_headers()

    async def prepare(self) -> None:
        """Check access; answer a browser's question before a call of a listed origin."""
        request: HTTPServerRequest = self.request
        method = request.method or "GET"
        asks = method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
        context = getattr(request.connection, "context", None)
        access = self.control.access
        try:
            if access.must_wait(context, request.query, request.headers):
                await access.ready(context)
            self.grant = access.check(
                "inference" if asks and self.kind == "open" else self.kind,
                context,
                method,
                request.path,
                request.query,
                request.headers,
            )
        except AppError as error:
            self.refuse(error)
            return
        for key, value in cors(self.grant, method, request.path, request.query, request.headers):
            self.set_header(key, value)
        if asks and self.grant.origin is not None:
            self.set_status(204)
            await self.finish()

    def set_default_headers(self) -> None:
        """Name nothing but what the answer needs."""
        request_id = getattr(self, "request_id", None)  # Tornado asks once before ``initialize``
        if request_id is not None:
            self.set_header("x-request-id", request_id)
            self.set_header("x-dragoman-route", "attempts=0")
        self.clear_header("Server")
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Content-Type-Options", "nosniff")

    def compute_etag(self) -> None:
        """Send no ETag: these answers change all the time."""

    def head(self, *args: str, **kwargs: str) -> Any:
        """Answer as to GET; Tornado leaves the body out."""
        return self.get(*args, **kwargs)

    def send_json(self, body: Any, status: int = 200) -> None:
        """Answer with JSON (bytes are taken as they are)."""
        self.set_status(status)
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.finish(body if isinstance(body, bytes) else msgspec.json.encode(body))

    def send_file(self, content: bytes, kind: str, policy: str, status: int = 200) -> None:
        """Answer with a page or a file for a browser, which may be kept and asked for again.

        Args:
            content: its bytes.
            kind: its media type.
            policy: what it may load and do, as a ``Content-Security-Policy``.
            status: HTTP status.
        """
        self.set_status(status)
        self.set_header("Content-Type", kind)
        self.set_header("Content-Security-Policy", policy)
        self.set_header("X-Frame-Options", "DENY")
        self.set_header("Referrer-Policy", "no-referrer")
        self.set_header("Cross-Origin-Opener-Policy", "same-origin")
        self.set_header("Cross-Origin-Resource-Policy", "same-origin")
        self.set_header("Cache-Control", "no-cache")
        self.finish(content)

    def dialect(self) -> Dialect:
        """Return the dialect in which the caller expects errors."""
        return self.control.dialects[caller_dialect(self.request)]

    def help_at(self) -> str:
        """Return where this caller finds the help."""
        return self.control.access.policy.address_for(self.request.headers.get("Host", ""))

    def refuse(self, error: AppError) -> None:
        """Answer with an error."""
        failure = with_help(failure_of(error), self.help_at())
        reply = self.dialect().encode_failure(failure, self.request_id)
        self.set_status(reply.status)
        for key, value in reply.headers:
            self.set_header(key, value)
        if error.status == 401:
            self.set_header("WWW-Authenticate", 'Bearer realm="dragoman"')
        self.finish(reply.body)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Turn what was raised into an answer in the caller's form."""
        error = (kwargs.get("exc_info") or (None, None, None))[1]
        if isinstance(error, AppError):
            self.refuse(error)
            return
        messages = {
            400: "The request's address or one of its fields cannot be read.",
            404: "There is no such route.",
            405: "This route does not take this method.",
        }
        message = messages.get(status_code, "Dragoman failed on this request.")
        self.refuse(AppError(message, status=status_code, code=f"http_{status_code}"))

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Leave expected errors out of the log."""
        if not isinstance(value, AppError):
            super().log_exception(typ, value, tb)


def caller_dialect(request: HTTPServerRequest) -> DialectName:
    """Tell a caller's dialect by its headers and path."""
    if request.path.startswith("/v1beta") or "x-goog-api-key" in request.headers:
        return "gemini"
    if "anthropic-version" in request.headers:
        return "anthropic"
    return "openai_chat"


class _Missing(Page):
    kind = "open"

    async def prepare(self) -> None:
        await super().prepare()
        if not self._finished:
            self.refuse(
                AppError(
                    f"There is no route {self.request.method} {self.request.path[:200]}.",
                    status=404,
                    code="route_not_found",
                    hint="The help page `API` lists what is served.",
                )
            )


class _Alive(Page):
    kind = "open"

    def get(self) -> None:
        self.send_json({"status": "ok"})


class _Health(Page):
    def get(self) -> None:
        self.send_json(self.control.health(self.grant))


class _Metrics(Page):
    def get(self) -> None:
        self.set_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        self.finish(self.control.metrics(self.grant))


class _Models(Page):
    def get(self, model: str | None = None) -> None:
        demo = self.get_query_argument("demo", "") not in ("", "0")
        rows = self.control.models(self.grant, demo=demo)
        form = caller_dialect(self.request)
        if model is None:
            self.send_json(render_models(rows, form))
            return
        wanted = model.removeprefix("models/")
        row = next((row for row in rows if row.id == wanted), None)
        if row is None:
            raise RequestError(
                f"The model {wanted[:200]!r} is not listed.", status=404, code="model_not_found"
            )
        self.send_json(render_models([row], form, single=True))


class _Stored(Page):
    def get(self, name: str) -> None:
        self.send_json(self.control.stored_response(self.grant.owner, name))

    def delete(self, name: str) -> None:
        self.control.forget_response(self.grant.owner, name)
        self.send_json({"id": name, "object": "response", "deleted": True})


class _Stop(Page):
    kind = "control"

    def post(self) -> None:
        self.send_json({"stopping": True})
        self.control.stop()


class _Reload(Page):
    kind = "control"

    async def post(self) -> None:
        self.send_json(await self.control.reload())


def page_routes(control: Control, extra: list[Any] | None = None) -> Application:
    """Return the application of these routes."""
    shared = {"control": control}
    routes: list[Any] = [
        (r"/healthz", _Alive, shared),
        (r"/v1/health", _Health, shared),
        (r"/metrics", _Metrics, shared),
        (r"/(?:v1|v1beta)/models", _Models, shared),
        (r"/models", _Models, shared),
        (r"/(?:v1|v1beta)/models/(?P<model>.+)", _Models, shared),
        (r"/(?:v1/)?responses/(?P<name>[^/]+)", _Stored, shared),
        (r"/admin/stop", _Stop, shared),
        (r"/admin/config/reload", _Reload, shared),
        *(extra or []),
    ]
    return Application(
        routes,
        default_handler_class=_Missing,
        default_handler_args=shared,
        log_function=lambda _handler: None,
        websocket_ping_interval=30,  # ends a socket whose client vanished without a word
    )
