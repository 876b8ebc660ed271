"""Loads a checkpoint into the user's own model: every tensor once, in its shape, and no others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vit_convert.checkpoint import Checkpoint
from vit_convert.checkpoint.tensor import Tensors
from vit_convert.conversion.name_table import table
from vit_convert.errors import MappingError, UsageError
from vit_convert.parity.sources.strict_loading import misfits

if TYPE_CHECKING:
    import torch

# before the names of a model that DataParallel, torch.compile, Lightning or another class wraps
_WRAPPERS = ("module.", "_orig_mod.", "model.", "net.", "network.", "backbone.", "encoder.")
_DEPTH = 3  # of wrappers inside each other


def load_own(model: torch.nn.Module, checkpoint: Checkpoint, name: str) -> str:
    """Load a checkpoint's tensors into a model, under their own names.

    Args:
        model: of the user's.
        checkpoint: read without running anything in it.
        name: of the model, for the message.

    Returns:
        what stood before the checkpoint's names and not before the model's, "" for nothing.

    Raises:
        MappingError: tensors are missing, unexpected or misshapen.
        UsageError: the model cannot take them.
    """
    import torch

    own = model.state_dict()
    prefix, renamed = _renamed(checkpoint.tensors, own)
    problems = list(misfits(renamed, own))
    if problems:
        raise MappingError(
            f"the checkpoint's tensors are not those of --model {name}:\n{table(problems)}",
            where=str(checkpoint.path),
            expected="every tensor of the model once, in its shape, and no others",
            hint="--key, if the file holds several state dicts; vit-convert inspect shows them all",
        )
    state = {key: _as_torch(tensor.read(), own[key]) for key, tensor in renamed.items()}
    try:
        model.to("cpu", torch.float32).load_state_dict(state, strict=True)
    except (RuntimeError, NotImplementedError) as error:
        raise UsageError(
            f"does not take the checkpoint's tensors: {error}", where=f"--model {name}"
        ) from error
    return prefix


def _renamed(tensors: Tensors, own: Mapping[str, Any]) -> tuple[str, Tensors]:
    """The tensors under those of the names with and without wrappers that the model knows best."""
    best, taken = ("", dict(tensors)), -1
    for stripped, added in _prefixes(tensors, own):
        renamed = {
            added + name.removeprefix(stripped): tensor
            for name, tensor in tensors.items()
            if name.startswith(stripped)
        }
        if len(renamed) < len(tensors):
            continue  # two names would become one, or some have no such wrapper
        known = len(renamed.keys() & own.keys())
        if known > taken:
            best, taken = (stripped, renamed), known
    return best


def _prefixes(tensors: Tensors, own: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What may be taken off the checkpoint's names, and put before them; nothing first."""
    yield "", ""
    for prefix in _common(list(tensors)):
        yield prefix, ""
    for prefix in _common(list(own)):
        yield "", prefix
    for stripped in _common(list(tensors)):
        for added in _common(list(own)):
            yield stripped, added


def _common(names: Sequence[str]) -> list[str]:
    """The wrappers that stand before all names, longer and longer: "module.", "module.model."."""
    found, prefix = [], ""
    for _ in range(_DEPTH):
        inner = next(
            (w for w in _WRAPPERS if names and all(n.startswith(prefix + w) for n in names)), None
        )
        if inner is None:
            break
        prefix += inner
        found.append(prefix)
    return found


def _as_torch(array: np.ndarray, like: torch.Tensor) -> torch.Tensor:
    """As the model has it: in float32, but for whole numbers."""
    import torch

    wide = np.array(array, np.float32) if like.is_floating_point() else np.array(array)
    return torch.from_numpy(wide)
