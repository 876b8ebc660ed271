"""Naming schemes. To add one: a file with a table like timm.py, and a line in `_DIALECTS`."""

from __future__ import annotations

from vit_convert.checkpoint.tensor import Tensors
from vit_convert.dialects.rules import Dialect, Ledger, read_with, write_with
from vit_convert.dialects.timm import TIMM_BEIT, TIMM_CAIT, TIMM_VIT, TIMM_VIT_OLD_LAYER_SCALE
from vit_convert.errors import RecognitionError, UsageError

__all__ = ["Dialect", "Ledger", "dialect", "dialects", "read_as_canonical", "write_with"]

_DIALECTS: tuple[Dialect, ...] = (TIMM_VIT, TIMM_VIT_OLD_LAYER_SCALE, TIMM_BEIT, TIMM_CAIT)


def _check_unique(table: tuple[Dialect, ...]) -> None:
    keys = [(d.name, d.architecture) for d in table]
    if len(set(keys)) != len(keys):
        raise ValueError("two dialects have the same name and architecture")


_check_unique(_DIALECTS)


def dialects() -> tuple[Dialect, ...]:
    """All dialects."""
    return _DIALECTS


def dialect(name: str, architecture: str) -> Dialect:
    """The dialect of that name for an architecture.

    Raises:
        UsageError: there is none.
    """
    for candidate in _DIALECTS:
        if (candidate.name, candidate.architecture) == (name, architecture):
            return candidate
    known = ", ".join(d.name for d in _DIALECTS if d.architecture == architecture)
    raise UsageError(f"no dialect for {architecture} is called {name!r}", expected=known)


def read_as_canonical(tensors: Tensors, where: str) -> Ledger:
    """Find the dialect and prefix that know the most tensors, and rename with it.

    Args:
        tensors: the checkpoint's.
        where: the file, for messages.

    Raises:
        RecognitionError: no dialect knows even half of them.
    """
    ledgers = [
        read_with(candidate, tensors, prefix)
        for candidate in _DIALECTS
        for prefix in _prefixes(tensors, candidate.marker)
    ]
    best = max(ledgers, key=lambda ledger: ledger.known, default=None)
    if best is None or 2 * best.known < len(tensors):
        names = list(tensors)
        raise RecognitionError(
            f"the tensors are not named as any model known here: {', '.join(names[:4])}, ... "
            f"({len(names)} in all){_guess(tensors)}",
            where=where,
            expected=" or ".join(d.title for d in _DIALECTS),
            hint="vit-convert inspect, to see what the file holds",
        )
    return best


def _prefixes(tensors: Tensors, marker: str) -> list[str]:
    """What stands before the marker: "", "module.", "backbone.", "module.backbone." ..."""
    return sorted(
        name[: -len(marker)] for name in tensors if name == marker or name.endswith(f".{marker}")
    )


_OTHER_MODELS = (
    (
        "layers.0.blocks.0.attn.relative_position_bias_table",
        "windowed attention of Swin: not a ViT",
    ),
    ("layer1.0.conv1.weight", "a ResNet: not a ViT"),
    ("features.0.0.weight", "a convolutional network of torchvision: not a ViT"),
    ("stages.0.blocks.0.conv_dw.weight", "a ConvNeXt: not a ViT"),
)


def _guess(tensors: Tensors) -> str:
    for marker, what in _OTHER_MODELS:
        if any(name == marker or name.endswith(f".{marker}") for name in tensors):
            return f"; this looks like {what}" if what.startswith("a ") else f"; {what}"
    return ""
