"""A text tower in transformers' own CLIP or SigLIP: `get_text_features`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from vit_convert.architectures import ModelSpec
from vit_convert.checkpoint import Checkpoint
from vit_convert.dialects import Ledger
from vit_convert.errors import UsageError
from vit_convert.hf_config.json_reader import read_json
from vit_convert.parity.sources.timm_source import import_library
from vit_convert.parity.sources.transformers_models import layers_of, loaded
from vit_convert.parity.sources.watched import WatchedModel, as_torch

if TYPE_CHECKING:
    import torch

_MODELS = {
    "clip": "CLIPModel",
    "metaclip_2": "MetaClip2Model",
    "siglip": "SiglipModel",
    "siglip2": "Siglip2Model",
}
_HINT = "--reference with what the original gave"


def build(spec: ModelSpec, checkpoint: Checkpoint, ledger: Ledger) -> WatchedModel:
    """The source of a text tower; see `vit_convert.parity.sources.source_model`.

    Raises:
        UsageError: transformers has no such model.
    """
    model = whole_model(checkpoint, ledger, "it is a text tower")
    import torch

    def forward(tokens: torch.Tensor) -> torch.Tensor:
        return pooled(model.get_text_features(input_ids=tokens))

    def prepare(tokens: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(tokens.astype(np.int64))

    blocks = dict(zip(spec.block_names()[1:], layers_of(model.text_model), strict=True))
    return WatchedModel(model, forward, blocks, described(model), prepare)


def whole_model(checkpoint: Checkpoint, ledger: Ledger, why: str) -> Any:
    """transformers' model of a checkpoint that holds both towers, in float32.

    Args:
        checkpoint: with a config.json beside it.
        ledger: of either tower.
        why: both are needed, for the error.

    Raises:
        UsageError: transformers has no such model.
    """
    config = read_json(checkpoint.path.parent / "config.json") or {}
    kind = str(config.get("model_type"))
    if kind not in _MODELS or not ledger.dialect.name.startswith("transformers-"):
        raise UsageError(
            f"{why}, and only those of transformers' {', '.join(_MODELS.values())} are run here",
            where=str(checkpoint.path),
            expected="the folder that transformers saved, with its config.json",
            hint=_HINT,
        )
    import_library("torchvision")  # before transformers, which imports it its own way
    model_class = getattr(import_library("transformers"), _MODELS[kind])
    stated = model_class.config_class.from_dict(json.loads(json.dumps(config)))
    state = {
        name.removeprefix(ledger.prefix): tensor
        for name, tensor in as_torch(checkpoint.tensors).items()
        if not name.endswith("position_ids")
    }
    return loaded(model_class, stated, state, set(), {}).eval().float()


def described(model: Any) -> str:
    """For people: class and versions."""
    import torch

    version = import_library("transformers").__version__
    name = type(model).__name__
    return f"{name} of transformers {version} on PyTorch {torch.__version__}, float32"


def pooled(output: Any) -> torch.Tensor:
    """Of what transformers 5 gives, and what versions before it do: the embeddings themselves."""
    found: torch.Tensor = getattr(output, "pooler_output", output)
    return found


def in_timm(spec: ModelSpec, classes: int) -> Any:
    """See `Architecture.source_model`.

    Raises:
        UsageError: always, for timm has no text towers.
    """
    raise UsageError(
        "timm has no text towers, so that one of other names cannot be run",
        expected="the folder that transformers saved, with its config.json",
        hint=_HINT,
    )
