"""Mutants of `scripts/mutate_code` that no test notices, and why they may stay."""

from __future__ import annotations

# (file under vit_convert/, the line as it was, and as it becomes) -> why nothing can notice it
EXPLAINED: dict[tuple[str, str, str], str] = {}
