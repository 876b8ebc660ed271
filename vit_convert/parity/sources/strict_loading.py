"""Loads tensors into a PyTorch model: every tensor once, in its shape, and no others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from vit_convert.conversion.name_table import table
from vit_convert.errors import UsageError

if TYPE_CHECKING:
    import torch


def load_strictly(model: torch.nn.Module, state: Mapping[str, torch.Tensor]) -> None:
    """Load all tensors into a model that has exactly these.

    Raises:
        UsageError: it has others; the message has a table of them.
    """
    try:
        model.load_state_dict(dict(state), strict=True)  # a model may rename what is older than it
    except RuntimeError as error:
        problems = list(misfits(state, model.state_dict()))
        raise UsageError(
            "the checkpoint's tensors are not those of the converted model:\n"
            f"{table(problems) if problems else error}",
            expected="the checkpoint that the artifact was made from",
        ) from error


def misfits(tensors: Mapping[str, Any], own: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the name of each tensor that does not fit, and why.

    Args:
        tensors: what would be loaded; each value has a `shape`.
        own: the model's state dict.
    """
    for name, value in own.items():
        wanted = tuple(value.shape)
        if name not in tensors:
            yield name, f"missing, expected {wanted}"
        elif tuple(tensors[name].shape) != wanted:
            yield name, f"has shape {tuple(tensors[name].shape)}, expected {wanted}"
    for name, tensor in tensors.items():
        if name not in own:
            yield name, f"unexpected {tuple(tensor.shape)}: the model has no such tensor"
