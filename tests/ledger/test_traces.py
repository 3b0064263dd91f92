"""Traces: by the conventions, without prompts, and without the extra nothing but a sentence."""

import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from app.canonical.usage import Usage
from app.ledger.traces import Traces, TraceSettings, attributes_of
from tests.ledger.entries import NOON, attempt, entry

ON = TraceSettings(enabled=True)
PARENT = (("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),)


@pytest.fixture
def memory():
    return pytest.importorskip(
        "opentelemetry.sdk.trace.export.in_memory_span_exporter"
    ).InMemorySpanExporter()


@pytest.fixture
def traces(memory):
    made = Traces(lambda _endpoint: memory, delay_ms=10)
    made.configure(ON)
    assert made.on
    yield made
    made.close()


def sent(traces, memory):
    """The spans so far, the request's own first."""
    traces._provider.force_flush(5_000)
    return sorted(
        memory.get_finished_spans(), key=lambda span: (span.start_time, span.parent is not None)
    )


def test_a_request_is_a_span_by_the_conventions(traces, memory):
    traces.note(
        entry(
            session="s1",
            tokens=Usage(100, 50, 10, 20, 5, 4),
            stop="tool_use",
            cost=1_500,
            attempts=(attempt(at=NOON + 1), attempt(at=NOON + 2)),
        )
    )
    span, *children = sent(traces, memory)
    assert (span.name, span.kind.name) == ("chat sonnet", "CLIENT")
    told = dict(span.attributes)
    assert told["gen_ai.operation.name"] == "chat"
    assert told["gen_ai.provider.name"] == "anthropic"
    assert told["gen_ai.request.model"] == "sonnet"
    assert told["gen_ai.response.model"] == "claude-sonnet-4-5"
    assert told["gen_ai.response.finish_reasons"] == ("tool_call",)
    assert told["gen_ai.usage.input_tokens"] == 160
    assert told["gen_ai.usage.output_tokens"] == 20
    assert told["gen_ai.usage.cache_read.input_tokens"] == 50
    assert told["gen_ai.usage.cache_creation.input_tokens"] == 10
    assert told["gen_ai.usage.reasoning.output_tokens"] == 5
    assert told["gen_ai.response.time_to_first_chunk"] == 0.35
    assert told["gen_ai.conversation.id"] == told["session.id"] == "s1"
    assert told["gen_ai.usage.cost"] == told["dragoman.cost_usd"] == 0.0015
    assert "error.type" not in told
    assert span.start_time == int(NOON * 1e9)
    assert span.end_time - span.start_time == 2_100 * 1_000_000
    assert span.resource.attributes["service.name"] == "dragoman"
    assert [child.name for child in children] == ["attempt 1", "attempt 2"]
    assert {child.parent.span_id for child in children} == {span.context.span_id}
    # Only one of them may count the tokens.
    assert not any(name.startswith("gen_ai.") for child in children for name in child.attributes)


def test_the_names_are_those_of_the_conventions(memory):
    names = pytest.importorskip("opentelemetry.semconv._incubating.attributes.gen_ai_attributes")
    known = {getattr(names, name) for name in dir(names) if name.startswith("GEN_AI_")}
    full = attributes_of(entry(session="s", rule="r", cost=1, tokens=Usage(1, 1, 1, 1, 1)))
    used = {name for name in full if name.startswith("gen_ai.")}
    assert used - known == {"gen_ai.usage.cost"}  # Langfuse's


def test_failures_are_told_as_errors(traces, memory):
    failed = attempt(error="overloaded", status=529)
    traces.note(entry(error="overloaded", status=529, tokens=None, attempts=(failed,)))
    span, child = sent(traces, memory)
    assert span.status.status_code.name == child.status.status_code.name == "ERROR"
    assert span.attributes["error.type"] == child.attributes["error.type"] == "overloaded"
    assert child.attributes["http.response.status_code"] == 529
    assert "gen_ai.usage.input_tokens" not in span.attributes


def test_the_callers_trace_goes_on(traces, memory):
    traces.began("req_1", (("X", "y"), *PARENT, ("tracestate", "a=b")))
    traces.began("req_2", (("traceparent", "nonsense"),))
    traces.note(entry("req_1", attempts=()))
    traces.note(entry("req_2", attempts=(), at=NOON + 1))
    traces.note(entry("req_3", attempts=(), at=NOON + 2))
    one, two, three = sent(traces, memory)
    assert f"{one.context.trace_id:032x}" == "0af7651916cd43dd8448eb211c80319c"
    assert f"{one.parent.span_id:016x}" == "b7ad6b7169203331"
    assert one.context.trace_state.get("a") == "b"
    assert two.parent is None
    assert three.parent is None


def test_what_a_plan_served_costs_nothing_there(traces, memory):
    traces.note(entry(cost=2_000, worth=True, attempts=()))
    (span,) = sent(traces, memory)
    assert span.attributes["gen_ai.usage.cost"] == 0
    assert span.attributes["dragoman.billing"] == "worth"


def test_odd_names_of_clients_hurt_nobody(traces, memory):
    odd = "\0" + "\ud800" + "x" * 10_000
    traces.note(entry(asked=odd, model=odd, client=odd, attempts=()))
    (span,) = sent(traces, memory)
    assert len(span.attributes["gen_ai.request.model"]) <= 500


def test_requests_that_never_end_take_bounded_room(traces):
    for i in range(5_000):
        traces.began(f"req_{i}", PARENT)
    assert len(traces._parents) == 4_096


def test_nothing_is_made_while_it_is_off(memory):
    traces = Traces(lambda _endpoint: memory)
    traces.began("req_1", PARENT)
    traces.note(entry())
    traces.configure(TraceSettings())
    assert not traces.on
    assert len(traces._parents) == 0
    traces.close()


def test_other_settings_begin_anew_and_the_same_do_not(memory):
    made = []

    def exporter(endpoint):
        made.append(endpoint)
        return memory

    traces = Traces(exporter)
    for endpoint in (None, None, "http://a", "http://a"):
        traces.configure(TraceSettings(enabled=True, endpoint=endpoint))
    assert made == [None, "http://a"]
    traces.configure(TraceSettings())
    assert not traces.on
    traces.close()


def test_without_the_extra_a_sentence_says_how_to_get_it(caplog):
    def missing(_endpoint):
        raise ModuleNotFoundError("No module", name="opentelemetry.exporter")

    traces = Traces(missing)
    traces.configure(ON)
    assert not traces.on
    assert "pip install 'dragoman[otel]'" in traces.trouble
    traces.note(entry())  # and requests go on
    traces.close()


def test_the_libraries_are_imported_by_the_settings_only():
    script = (
        "import sys\nfrom app.ledger.traces import Traces, TraceSettings\n"
        "from tests.ledger.entries import entry\nt = Traces(lambda e: None)\nt.note(entry())\n"
        "t.configure(TraceSettings())\nprint('opentelemetry' in sys.modules)\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False"]


def test_a_machine_without_the_libraries_serves_all_the_same():
    script = (
        "import sys\nsys.modules['opentelemetry'] = None\n"
        "from app.ledger.traces import Traces, TraceSettings\n"
        "from tests.ledger.entries import entry\nt = Traces()\n"
        "t.configure(TraceSettings(enabled=True))\nt.note(entry())\nprint(t.on, t.trouble)\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.startswith("False OpenTelemetry is not installed")


class Receiver:
    """A collector: takes OTLP over HTTP and keeps what it was sent."""

    def __init__(self):
        self.calls = []
        self.came = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                fields = {name.lower(): value for name, value in self.headers.items()}
                receiver.calls.append((self.path, fields, body))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()
                receiver.came.set()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def close(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def receiver():
    made = Receiver()
    yield made
    made.close()


def test_a_collector_gets_them_by_otlp_over_http(receiver, monkeypatch):
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Basic%20cGs6c2s%3D")
    traces = Traces(delay_ms=10)
    traces.configure(TraceSettings(enabled=True, endpoint=f"{receiver.url}/api/public/otel/"))
    traces.note(entry())
    traces.close()  # sends what waits
    assert receiver.came.wait(20)
    ((path, headers, body),) = receiver.calls
    assert path == "/api/public/otel/v1/traces"
    assert headers["content-type"] == "application/x-protobuf"
    assert headers["authorization"] == "Basic cGs6c2s="
    request = ExportTraceServiceRequest.FromString(body)
    spans = request.resource_spans[0].scope_spans[0].spans
    assert {span.name for span in spans} == {"chat sonnet", "attempt 1"}
    told = {one.key: one.value for span in spans for one in span.attributes}
    assert told["gen_ai.usage.input_tokens"].int_value == 160


class Collector:
    """An exporter that fails until it is told not to."""

    def __init__(self):
        self.results = []
        self.well = False

    def export(self, spans):
        from opentelemetry.sdk.trace.export import SpanExportResult

        self.results.append(len(spans))
        return SpanExportResult.SUCCESS if self.well else SpanExportResult.FAILURE

    def shutdown(self):
        pass

    def force_flush(self, _timeout_millis):
        return True


def test_a_collector_that_takes_nothing_is_told_of_once(caplog):
    pytest.importorskip("opentelemetry.sdk.trace")
    collector = Collector()
    traces = Traces(lambda _endpoint: collector, delay_ms=10)
    traces.configure(ON)
    for i in range(3):
        traces.note(entry(f"r{i}"))
        traces._provider.force_flush(5_000)
    assert "does not take them" in traces.trouble
    assert caplog.text.count("does not take them") == 1
    collector.well = True
    traces.note(entry("last"))
    traces._provider.force_flush(5_000)
    assert traces.trouble == ""
    assert "sent again" in caplog.text
    traces.close()


def test_a_collector_that_is_not_there_ends_nothing(caplog):
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    traces = Traces(delay_ms=10)
    traces.configure(TraceSettings(enabled=True, endpoint=f"http://127.0.0.1:{port}"))
    traces.note(entry())
    traces.close()
    assert not traces.on


def test_the_librarys_own_variable_says_where_to(receiver, monkeypatch):
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
    traces = Traces(delay_ms=10)
    traces.configure(ON)
    traces.note(entry())
    traces.close()
    assert [path for path, *_ in receiver.calls] == ["/v1/traces"]
