"""Addresses of Ray clusters."""

from __future__ import annotations

from vit_convert.errors import UsageError

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
