"""What stands in front of the names that a dialect is told by."""

from __future__ import annotations

from collections.abc import Iterable


class Prefixes:
    """The names of a checkpoint, by what stands behind their last dot or slash: so that no marker
    is compared with all of them.

    Args:
        names: of tensors.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._by_leaf: dict[str, list[str]] = {}
        for name in names:
            self._by_leaf.setdefault(_leaf(name), []).append(name)

    def of(self, marker: str) -> list[str]:
        """The prefixes in front of a marker: "", "module.", "backbone.", "opt/target/" ..."""
        return sorted(
            name[: -len(marker)]
            for name in self._by_leaf.get(_leaf(marker), ())
            if name == marker or name.endswith((f".{marker}", f"/{marker}"))
        )


def _leaf(name: str) -> str:
    return name[max(name.rfind("."), name.rfind("/")) + 1 :]
