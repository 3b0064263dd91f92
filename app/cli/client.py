"""Asking a running instance over loopback, with the standard library alone: it imports fast."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from app.errors import AppError
from app.help import without_address

__all__ = ["Client"]

_HOST = "127.0.0.1"
_LONGEST_REFUSAL = 65_536


class Client:
    """Asks the instance on a port; each call has a connection of its own.

    Nothing of the environment is used: a proxy for the outside must not see loopback calls.
    """

    def __init__(self, port: int, token: str | None = None, *, timeout_s: float = 10.0) -> None:
        """Take the address.

        Args:
            port: where it listens on 127.0.0.1.
            token: the local token of ``instance.json``; None asks as the same user.
            timeout_s: longest silence that is waited for.
        """
        self._port = port
        self._token = token
        self._timeout_s = timeout_s

    def get(self, path: str) -> Any:
        """Return the JSON answer of a ``GET``.

        Raises:
            AppError: ``instance_unreachable``, or what the instance answered.
        """
        return self._ask("GET", path, None)

    def post(self, path: str, body: Any = None) -> Any:
        """Return the JSON answer of a ``POST`` with a JSON body; None sends an empty one.

        Raises:
            AppError: ``instance_unreachable``, or what the instance answered.
        """
        return self._ask("POST", path, body)

    def stream(self, path: str, body: Any) -> Iterator[bytes]:
        """Yield the lines of a streamed answer as they come, without their ends.

        Raises:
            AppError: ``instance_unreachable``, also when the stream breaks; or what the instance
                answered instead of a stream.
        """
        with self._answer("POST", path, body) as response:
            for line in response:
                yield line.rstrip(b"\r\n")

    def _ask(self, method: str, path: str, body: Any) -> Any:
        with self._answer(method, path, body) as response:
            content = response.read()
        try:
            return msgspec.json.decode(content)
        except msgspec.DecodeError as error:
            raise self._unreachable("its answer is no JSON") from error

    @contextmanager
    def _answer(self, method: str, path: str, body: Any) -> Iterator[http.client.HTTPResponse]:
        """Give the answer's body for reading; the border for the library's errors."""
        connection = http.client.HTTPConnection(_HOST, self._port, timeout=self._timeout_s)
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        try:
            connection.request(
                method, path, None if body is None else msgspec.json.encode(body), headers
            )
            response = connection.getresponse()
            if response.status >= 400:
                raise _refusal(response.status, response.read(_LONGEST_REFUSAL))
            yield response
        except TimeoutError as error:
            raise self._unreachable(f"nothing came for {self._timeout_s:g} s") from error
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(str(error) or type(error).__name__) from error
        finally:
            connection.close()

    def _unreachable(self, reason: str) -> AppError:
        return AppError(
            f"Dragoman on port {self._port} does not answer as it should: {reason}.",
            code="instance_unreachable",
            status=502,
            hint="`dragoman logs` may say why; `dragoman restart` starts it anew.",
        )


def _refusal(status: int, content: bytes) -> AppError:
    """Return the error of an answer in OpenAI's envelope, or as much of it as there is."""
    try:
        error = msgspec.json.decode(content)["error"]
        message = without_address(str(error["message"]))
        code = str(error.get("code") or f"http_{status}")
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError):
        message, code = f"Dragoman answered with status {status}.", f"http_{status}"
    return AppError(message, status=status, code=code)
