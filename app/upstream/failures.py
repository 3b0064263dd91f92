"""The ways in which a call to a service fails, as ``UpstreamError`` with stable codes.

=====================  ======  ==============================================================
code                   status  meaning
=====================  ======  ==============================================================
upstream_unreachable   502     the name does not resolve, or nobody answers at the address
upstream_tls           502     the certificate is not trusted, or not for this host
upstream_timeout       504     a time limit passed; the message says which one
upstream_closed        502     the connection ended before the answer did
upstream_protocol      502     the answer is not correct HTTP/1.1
upstream_too_large     502     the answer is larger than allowed, compressed or not
self_target            502     the address is our own
invalid_url            502     the address cannot be called at all
invalid_header         502     a header of ours cannot be sent
proxy_invalid          502     the proxy setting cannot be used
=====================  ======  ==============================================================

Messages name the host and nothing else of the address: no path, no query, no header.
"""

from __future__ import annotations

from enum import Enum

from app.errors import Retry, UpstreamError

__all__ = [
    "Stage",
    "closed",
    "invalid_header",
    "invalid_url",
    "proxy_invalid",
    "self_target",
    "timed_out",
    "tls",
    "too_large",
    "unreachable",
    "violation",
]


class Stage(Enum):
    """What a call was waiting for when its time was up."""

    CONNECT = "connect"
    SEND = "send"
    FIRST_BYTE = "first_byte"
    IDLE = "idle"
    TOTAL = "total"


_WAITS = {
    Stage.CONNECT: ("did not accept a connection", "connect_timeout_s"),
    Stage.SEND: ("stopped taking the request", "first_byte_timeout_s"),
    Stage.FIRST_BYTE: ("did not begin to answer", "first_byte_timeout_s"),
    Stage.IDLE: ("stopped sending in the middle of its answer", "idle_timeout_s"),
    Stage.TOTAL: ("did not finish its answer", "total_timeout_s"),
}
"""What the service failed to do, and the setting that holds the limit."""


def timed_out(host: str, stage: Stage, limit_s: float) -> UpstreamError:
    """Return the error for a passed time limit of ``limit_s`` seconds."""
    failed, setting = _WAITS[stage]
    return UpstreamError(
        f"{host} {failed} within {limit_s:g} s.",
        status=504,
        code="upstream_timeout",
        hint=f"The limit is upstream.{setting} in the settings.",
    )


def unreachable(host: str, reason: str) -> UpstreamError:
    """Return the error for a connection that cannot be made."""
    return UpstreamError(
        f"{host} cannot be reached: {reason}.",
        code="upstream_unreachable",
        hint="Check the network connection, and the proxy settings if there is a proxy.",
    )


def tls(host: str, reason: str) -> UpstreamError:
    """Return the error for a TLS connection that cannot be trusted."""
    return UpstreamError(
        f"The encrypted connection to {host} failed: {reason}.",
        code="upstream_tls",
        hint="Where a company proxy re-signs traffic, name its CA file as upstream.ca_file.",
    )


def closed(host: str, during: str) -> UpstreamError:
    """Return the error for a connection that ended too early."""
    return UpstreamError(f"{host} closed the connection {during}.", code="upstream_closed")


def violation(host: str, reason: str) -> UpstreamError:
    """Return the error for an answer that is not correct HTTP."""
    return UpstreamError(
        f"{host} sent an answer that is not correct HTTP: {reason}.", code="upstream_protocol"
    )


def too_large(host: str, limit_bytes: int, what: str = "answer") -> UpstreamError:
    """Return the error for an answer beyond its size limit."""
    return UpstreamError(
        f"The {what} of {host} is larger than the allowed {limit_bytes} bytes.",
        code="upstream_too_large",
        retry=Retry.NEVER,
    )


def self_target(host: str) -> UpstreamError:
    """Return the error for a call that would come back to ourselves."""
    return UpstreamError(
        f"{host} is Dragoman's own address, so the call would go round in a circle.",
        code="self_target",
        hint="Set the account's base_url to the service's address.",
    )


def invalid_url(reason: str) -> UpstreamError:
    """Return the error for an address that cannot be called."""
    return UpstreamError(
        f"The upstream address cannot be used: {reason}.",
        code="invalid_url",
        hint="Check the account's base_url.",
    )


def invalid_header(host: str) -> UpstreamError:
    """Return the error for a header that cannot be sent."""
    return UpstreamError(
        f"A header for {host} holds a line break or a character that HTTP cannot carry.",
        code="invalid_header",
        hint="A key pasted with a line break is the usual cause; store the key again.",
    )


def proxy_invalid(reason: str) -> UpstreamError:
    """Return the error for a proxy setting that cannot be used."""
    return UpstreamError(
        f"The proxy setting cannot be used: {reason}.",
        code="proxy_invalid",
        hint="Write it as http://host:port, https://host:port or socks5://host:port.",
    )
