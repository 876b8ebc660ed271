"""Addresses of Ray clusters."""

from __future__ import annotations

import socket

from vit_convert.errors import UsageError

_SECONDS = 10  # to answer

HERE = "local"  # a Ray that is started on this machine, for one run


def check_address(address: str) -> str:
    """An address of a cluster as it is.

    Raises:
        UsageError: it is none, but perhaps what follows --ray.
    """
    host, _, port = address.rpartition(":")
    if address in (HERE, "auto") or address.startswith("ray://") or (host and port.isdigit()):
        return address
    raise UsageError(
        f"{address!r} is no address of a Ray cluster",
        where="--ray",
        expected="HOST:PORT, ray://HOST:PORT or auto; nothing for this machine",
        hint="--ray at the end of the command, or --ray=local",
    )


def check_reachable(address: str) -> None:
    """Find that somebody answers at an address; Ray would take half a minute for that.

    Raises:
        UsageError: nobody does.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), _SECONDS).close()
    except (OSError, OverflowError, UnicodeError) as error:
        raise unreachable(address, getattr(error, "strerror", None) or str(error)) from error


def unreachable(address: str, reason: str) -> UsageError:
    """The error for a cluster that cannot be reached."""
    return UsageError(
        f"cannot be reached: {reason}",
        where=f"--ray {address}",
        expected="the address of a running Ray cluster, HOST:PORT, ray://HOST:PORT or auto; with "
        "the versions of Ray and Python that are here",
        hint="ray status --address ADDRESS",
    )
