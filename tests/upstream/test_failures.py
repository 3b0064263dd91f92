import pytest

from app.errors import Retry
from app.upstream import failures
from app.upstream.failures import Stage


@pytest.mark.parametrize(
    ("stage", "setting"),
    [
        (Stage.CONNECT, "connect_timeout_s"),
        (Stage.SEND, "first_byte_timeout_s"),
        (Stage.FIRST_BYTE, "first_byte_timeout_s"),
        (Stage.IDLE, "idle_timeout_s"),
        (Stage.TOTAL, "total_timeout_s"),
    ],
)
def test_a_time_out_names_host_limit_and_setting(stage, setting):
    error = failures.timed_out("api.test", stage, 1.5)
    assert error.status == 504
    assert error.message.startswith("api.test ")
    assert error.message.endswith(" within 1.5 s.")
    assert f"upstream.{setting} " in error.hint


@pytest.mark.parametrize(
    ("error", "code", "retry"),
    [
        (failures.unreachable("h.test", "why"), "upstream_unreachable", Retry.NEXT_ACCOUNT),
        (failures.tls("h.test", "why"), "upstream_tls", Retry.NEXT_ACCOUNT),
        (failures.closed("h.test", "why"), "upstream_closed", Retry.NEXT_ACCOUNT),
        (failures.violation("h.test", "why"), "upstream_protocol", Retry.NEXT_ACCOUNT),
        (failures.too_large("h.test", 9), "upstream_too_large", Retry.NEVER),
        (failures.self_target("h.test"), "self_target", Retry.NEXT_ACCOUNT),
        (failures.invalid_header("h.test"), "invalid_header", Retry.NEXT_ACCOUNT),
    ],
)
def test_each_failure_has_its_code_and_names_the_host(error, code, retry):
    assert (error.status, error.code, error.retry) == (502, code, retry)
    assert "h.test" in error.message
