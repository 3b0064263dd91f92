"""The running instance, as a command finds it."""

from __future__ import annotations

import os

from app import instance
from app.cli.client import Client
from app.cli.terminal import NotRunning
from app.errors import AppError
from app.instance import InstanceRecord
from app.paths import Paths

__all__ = ["address_of", "client_of", "connect", "find_running", "places"]


def places() -> Paths:
    """Return the folders that this call of the command line is about."""
    return Paths.find(os.environ)


def find_running(paths: Paths) -> InstanceRecord | None:
    """Return how to reach the instance of these folders, or None when none runs.

    Raises:
        AppError: ``instance_unreachable``: something holds the folder and does not say where it
            listens. ``data_dir_unusable``.
    """
    sighting = instance.read(paths.data, paths.runtime)
    if sighting.state == "foreign":
        raise AppError(
            f"Something holds the data folder {paths.data} and cannot be asked: it is still "
            "starting or stopping, or it runs in another session or under another user.",
            code="instance_unreachable",
            status=503,
            hint="Try again in a moment, or end it where it was started.",
        )
    return sighting.record if sighting.state == "live" else None


def client_of(record: InstanceRecord, *, timeout_s: float = 10.0) -> Client:
    """Return a client that may use the control routes of an instance."""
    return Client(record.port, record.token, timeout_s=timeout_s)


def connect() -> Client:
    """Return a client of the running instance.

    Raises:
        NotRunning: none runs.
        AppError: as ``find_running``.
    """
    record = find_running(places())
    if record is None:
        raise NotRunning
    return client_of(record)


def address_of(record: InstanceRecord) -> str:
    """Return the address that people and agents use."""
    return f"http://localhost:{record.port}"
