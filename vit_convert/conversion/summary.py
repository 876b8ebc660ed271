"""What a conversion came to, without the tensors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vit_convert.results import Result


@dataclass(frozen=True)
class ConversionSummary(Result):
    """What a conversion came to.

    Attributes:
        source: the checkpoint.
        path: the .h5, where one was written.
        size: its bytes.
        architecture: for people.
        model: the published model that it is, for people.
        warnings: what is assumed.
        notes: what else the user should know.
    """

    source: Path
    path: Path | None
    size: int | None
    architecture: str
    model: str
    warnings: tuple[str, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """In values that JSON knows."""
        return {"bytes" if key == "size" else key: v for key, v in super().to_dict().items()}
