"""Mutants of `scripts/mutate_code` that no test notices, and why they may stay."""

from __future__ import annotations

# (file under vit_convert/, the line as it was, and as it becomes) -> why nothing can notice it
_KEPT = "how many arrays are kept, so that none is read twice; what is computed is the same"
_FROZEN = "nothing in the package changes it; frozen is for mypy and for readers"
EXPLAINED: dict[tuple[str, str, str], str] = {
    (
        "folding/__init__.py",
        "while len(recent) > _KEPT:",
        "while len(recent) >= _KEPT:",
    ): _KEPT,
    (
        "folding/__init__.py",
        "_KEPT = 4  # arrays as they were read: a layer's weight and bias, and a norm's",
        "_KEPT = 3  # arrays as they were read: a layer's weight and bias, and a norm's",
    ): _KEPT,
    (
        "folding/model.py",
        "@dataclass(frozen=True)",
        "@dataclass(frozen=False)",
    ): _FROZEN,
    (
        "folding/model.py",
        "if array.ndim != 2 or array.flags.c_contiguous:",
        "if not array.ndim != 2 or array.flags.c_contiguous:",
    ): "both ways give the array row by row; which is taken is a matter of speed",
}
