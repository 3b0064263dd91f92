"""Requests as OpenTelemetry traces, by the conventions for generative AI.

Each request is a span ``chat MODEL`` over all of its attempts, with the tokens; each attempt is a
child, without, so that nobody counts them twice. A caller's ``traceparent`` is the parent of all.
No prompt and no answer goes along. Source: OpenTelemetry's semantic conventions for GenAI client
spans, read 2026-11-21; ``dragoman.*`` is what they have no name for.

The libraries are an extra (``dragoman[otel]``), imported when traces are switched on, and not
before. Spans are sent in batches by a thread of the library; where nobody takes them they are
dropped, and a request never waits.

States: off → on (``configure``) → off again, or closed (``close``).
"""

from __future__ import annotations

import importlib
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from app import __version__
from app.errors import AppError
from app.http import Headers, header
from app.ledger.entry import AttemptEntry, Entry

__all__ = ["TraceSettings", "Traces", "attributes_of"]

_log = logging.getLogger("dragoman.traces")

_MOST_PARENTS: Final = 4_096
"""Requests that run at once, of which the caller has told its trace."""
_TIMEOUT_S: Final = 3.0
"""For handing a batch over, tries again included; a stop waits for it."""
_PROVIDERS: Final = {
    "claude": "anthropic",
    "codex": "openai",
    "gemini": "gcp.gemini",
    "aistudio": "gcp.gemini",
    "webai": "gcp.gemini",
}
"""Our names of services to those of the conventions; others have none there, or the same."""
_STOPS: Final = {
    "end": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "context_full": "length",
    "tool_use": "tool_call",
    "refusal": "content_filter",
    "content_filter": "content_filter",
}


@dataclass(frozen=True, slots=True)
class TraceSettings:
    """Whether traces are sent, and where to."""

    enabled: bool = False
    endpoint: str | None = None
    """Without ``/v1/traces``; None: what the library's own variables say."""


def _otlp(endpoint: str | None) -> Any:
    """Return what sends spans by OTLP over HTTP; ``ImportError`` without the extra."""
    module = importlib.import_module("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    # It speaks of each try; we say once that nobody takes them, and once that somebody does again.
    logging.getLogger("opentelemetry.exporter").setLevel(logging.CRITICAL)
    if endpoint is None:
        return module.OTLPSpanExporter(timeout=_TIMEOUT_S)
    return module.OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=_TIMEOUT_S)


class _Told:
    """An exporter that tells whether spans are taken."""

    def __init__(self, exporter: Any, tell: Callable[[bool], None]) -> None:
        self._exporter = exporter
        self._tell = tell

    def export(self, spans: Any) -> Any:
        """Hand spans over."""
        result = self._exporter.export(spans)
        self._tell(result.name == "SUCCESS")
        return result

    def shutdown(self) -> None:
        """End."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 3_000) -> bool:
        """Hand over what is left."""
        return bool(self._exporter.force_flush(timeout_millis))


class Traces:
    """See the module. Safe for several threads.

    Args:
        exporter: makes what spans are handed to; takes the endpoint.
        delay_ms: how long spans are gathered.
    """

    def __init__(
        self, exporter: Callable[[str | None], Any] = _otlp, *, delay_ms: int = 2_000
    ) -> None:
        self._make_exporter = exporter
        self._delay_ms = delay_ms
        self._lock = threading.Lock()
        self._settings = TraceSettings()
        self._provider: Any = None
        self._tracer: Any = None
        self._api: Any = None
        self._parents: OrderedDict[str, Headers] = OrderedDict()
        self.trouble = ""
        """Why no traces are sent although they should be; empty otherwise."""

    @property
    def on(self) -> bool:
        """Whether spans are made."""
        return self._tracer is not None

    def configure(self, settings: TraceSettings) -> None:
        """Begin, go on elsewhere, or end; blocks for the import of the libraries.

        What goes wrong is told by ``trouble`` and in the log.
        """
        with self._lock:
            if settings == self._settings:
                return
            self._shut_down()
            self._settings, self.trouble = settings, ""
            if not settings.enabled:
                return
            try:
                self._begin(settings)
            except AppError as error:
                self.trouble = error.text
                _log.error("no traces are sent: %s", error.text)

    def _begin(self, settings: TraceSettings) -> None:
        try:
            trace = importlib.import_module("opentelemetry.sdk.trace")
            export = importlib.import_module("opentelemetry.sdk.trace.export")
            resources = importlib.import_module("opentelemetry.sdk.resources")
            self._api = importlib.import_module("opentelemetry.trace")
            propagation = "opentelemetry.trace.propagation.tracecontext"
            self._propagator = importlib.import_module(propagation).TraceContextTextMapPropagator()
            exporter = self._make_exporter(settings.endpoint)
        except ImportError as error:
            raise AppError(
                f"OpenTelemetry is not installed ({error.name} is missing).",
                hint="Install Dragoman with the extra: `pip install 'dragoman[otel]'`.",
                code="otel_missing",
                status=503,
            ) from error
        resource = resources.Resource.create(
            {"service.name": "dragoman", "service.version": __version__}
        )
        # Ended by ``close``, not whenever the interpreter ends.
        provider = trace.TracerProvider(resource=resource, shutdown_on_exit=False)
        provider.add_span_processor(
            export.BatchSpanProcessor(
                _Told(exporter, self._taken), schedule_delay_millis=self._delay_ms
            )
        )
        self._provider = provider
        self._tracer = provider.get_tracer("dragoman", __version__)

    def _taken(self, well: bool) -> None:
        """Follow whether spans are taken; in the library's thread."""
        if well and self.trouble:
            _log.warning("traces are sent again")
            self.trouble = ""
        elif not well and not self.trouble:
            self.trouble = "The collector does not take them; those of now are lost."
            _log.warning("traces are not sent: the collector does not take them")

    def began(self, request_id: str, headers: Headers) -> None:
        """Remember the trace that a caller has told, until its request ends."""
        if self._tracer is None or (parent := header(headers, "traceparent")) is None:
            return
        kept = [("traceparent", parent)]
        if (state := header(headers, "tracestate")) is not None:
            kept.append(("tracestate", state))
        with self._lock:
            self._parents[request_id] = tuple(kept)
            while len(self._parents) > _MOST_PARENTS:
                self._parents.popitem(last=False)

    def note(self, entry: Entry) -> None:
        """Make the spans of a request that has ended. Never fails the request."""
        if self._tracer is None:
            return
        with self._lock:
            parent = self._parents.pop(entry.id, None)
            tracer, api = self._tracer, self._api
            if tracer is None:
                return
            context = None if parent is None else self._propagator.extract(dict(parent))
        try:
            self._spans(tracer, api, entry, context)
        except Exception:  # the border to a library; what it cannot take is no request's fault
            _log.exception("the trace of %s could not be made", entry.id)

    def _spans(self, tracer: Any, api: Any, entry: Entry, context: Any) -> None:
        span = tracer.start_span(
            f"chat {entry.asked or entry.model}".strip()[:200],
            context=context,
            kind=api.SpanKind.CLIENT,
            attributes=attributes_of(entry),
            start_time=_ns(entry.at),
        )
        around = api.set_span_in_context(span, context)
        for number, one in enumerate(entry.attempts, 1):
            child = tracer.start_span(
                f"attempt {number}",
                context=around,
                kind=api.SpanKind.CLIENT,
                attributes=_attempt_attributes(one, number),
                start_time=_ns(one.at),
            )
            if one.error:
                child.set_status(api.Status(api.StatusCode.ERROR, one.error))
            child.end(_ns(one.at) + one.duration_ms * 1_000_000)
        if entry.error:
            span.set_status(api.Status(api.StatusCode.ERROR, entry.error))
        span.end(_ns(entry.at) + entry.duration_ms * 1_000_000)

    def close(self) -> None:
        """Send what waits, and end; blocks for some seconds at most where nobody takes it."""
        with self._lock:
            self._shut_down()
            self._settings = TraceSettings()

    def _shut_down(self) -> None:
        provider, self._provider, self._tracer = self._provider, None, None
        self._parents.clear()
        if provider is not None:
            provider.force_flush(3_000)
            provider.shutdown()


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)


def attributes_of(entry: Entry) -> dict[str, Any]:
    """Return the attributes of a request's span; what is not known is left out."""
    tokens = entry.tokens
    found: dict[str, Any] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": _PROVIDERS.get(entry.provider, entry.provider),
        "gen_ai.request.model": entry.asked,
        "gen_ai.request.stream": entry.stream,
        "gen_ai.response.model": entry.model,
        "gen_ai.response.finish_reasons": [_STOPS.get(entry.stop, entry.stop)]
        if entry.stop
        else None,
        "gen_ai.conversation.id": entry.session,
        "session.id": entry.session,
        "error.type": entry.error,
        "http.response.status_code": entry.status,
        "dragoman.request.id": entry.id,
        "dragoman.account": entry.account,
        "dragoman.client": entry.client,
        "dragoman.key": entry.key_id,
        "dragoman.dialect": entry.dialect,
        "dragoman.upstream_dialect": entry.upstream,
        "dragoman.grade": entry.grade,
        "dragoman.rule": entry.rule,
        "dragoman.reason": entry.reason,
        "dragoman.attempts": len(entry.attempts),
        "dragoman.cached": entry.cached,
    }
    if entry.first_ms is not None and entry.stream:
        found["gen_ai.response.time_to_first_chunk"] = entry.first_ms / 1_000
    if entry.cost is not None:
        found["dragoman.cost_usd"] = entry.cost / 1e6
        found["dragoman.billing"] = "worth" if entry.worth else "paid"
        found["gen_ai.usage.cost"] = entry.spent / 1e6  # no convention, but what Langfuse reads
    if tokens is not None:
        found |= {
            "gen_ai.usage.input_tokens": tokens.prompt,
            "gen_ai.usage.output_tokens": tokens.output,
            "gen_ai.usage.cache_read.input_tokens": tokens.cache_read,
            "gen_ai.usage.cache_creation.input_tokens": tokens.cache_write,
            "gen_ai.usage.reasoning.output_tokens": tokens.reasoning,
        }
    return _known(found)


def _attempt_attributes(one: AttemptEntry, number: int) -> dict[str, Any]:
    return _known(
        {
            "dragoman.attempt": number,
            "dragoman.provider": one.provider,
            "dragoman.account": one.account,
            "dragoman.model": one.model,
            "dragoman.upstream_dialect": one.dialect,
            "dragoman.grade": one.grade,
            "dragoman.reason": one.reason,
            "http.response.status_code": one.status or None,
            "error.type": one.error,
        }
    )


def _known(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value.replace("\0", "").encode("utf-8", "replace").decode()[:500]
        if isinstance(value, str)
        else value
        for name, value in attributes.items()
        if value is not None and value != ""
    }
