"""A classifier that was made of words, in transformers' own CLIP or SigLIP: `logits_per_image`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from vit_convert.architectures import ModelSpec
from vit_convert.checkpoint import Checkpoint
from vit_convert.dialects import Ledger
from vit_convert.errors import UsageError
from vit_convert.hf_config.json_reader import read_json
from vit_convert.parity.sources.timm_source import import_library
from vit_convert.parity.sources.transformers_classes import kind_of
from vit_convert.parity.sources.transformers_models import inputs_of, layers_of, loaded
from vit_convert.parity.sources.watched import WatchedModel, as_torch
from vit_convert.words.prompts import prompts
from vit_convert.words.tokenizer import read_tokenizer

if TYPE_CHECKING:
    import torch

_MODELS = {"clip": "CLIPModel", "siglip": "SiglipModel", "siglip2": "Siglip2Model"}


def build(spec: ModelSpec, checkpoint: Checkpoint, ledger: Ledger, features: bool) -> WatchedModel:
    """See `vit_convert.parity.sources.source_model`.

    Both towers are transformers', and so is the comparison of their embeddings; the tokens are
    those of the folder's tokenizer. With `features`: embeddings of pictures, of length 1.

    Raises:
        UsageError: transformers has no such model.
    """
    folder = checkpoint.path.parent
    config = read_json(folder / "config.json") or {}
    kind = str(config.get("model_type"))
    if kind not in _MODELS or not ledger.dialect.name.startswith("transformers-"):
        raise UsageError(
            "its classes are words, and only transformers' CLIPModel, SiglipModel and Siglip2Model "
            "are run with their text towers here",
            where=str(checkpoint.path),
            expected="the folder that transformers saved, with its config.json",
            hint="--reference with logits that the original gave",
        )
    import_library("torchvision")  # before transformers, which imports it its own way
    transformers = import_library("transformers")
    import torch

    model_class = getattr(transformers, _MODELS[kind])
    stated = model_class.config_class.from_dict(json.loads(json.dumps(config)))
    state = {
        name.removeprefix(ledger.prefix): tensor
        for name, tensor in as_torch(checkpoint.tensors).items()
        if not name.endswith("position_ids")
    }
    model = loaded(model_class, stated, state, set(), {}).eval().float()
    siglip = kind != "clip"
    text = stated.text_config
    templates = spec.source.templates
    tokenize = read_tokenizer(folder, text.max_position_embeddings, text.vocab_size, siglip)
    ids = torch.from_numpy(tokenize(prompts(spec.labels, templates)))
    words = kind_of(ledger.dialect.name)

    def unit(x: torch.Tensor) -> torch.Tensor:
        return x / x.norm(dim=-1, keepdim=True)

    with torch.inference_mode():
        each = unit(_pooled(model.get_text_features(input_ids=ids)))
        classes = unit(each.reshape(len(spec.labels), len(templates), -1).mean(dim=1))

    def forward(images: torch.Tensor) -> torch.Tensor:
        inputs = inputs_of(words, images, spec)
        if len(templates) == 1 and not features:
            result: torch.Tensor = model(input_ids=ids, **inputs).logits_per_image
            return result
        embeddings = unit(_pooled(model.get_image_features(**inputs)))
        if features:
            return embeddings
        logits = embeddings @ classes.T * model.logit_scale.exp()
        return logits + model.logit_bias if siglip else logits

    versions = f"transformers {transformers.__version__} on PyTorch {torch.__version__}, float32"
    layers = layers_of(model.vision_model)
    blocks = dict(zip(spec.block_names()[1:], layers, strict=True))
    return WatchedModel(model, forward, blocks, f"{model_class.__name__} of {versions}")


def _pooled(output: Any) -> torch.Tensor:
    """Of what transformers 5 gives, and what versions before it do: the embeddings themselves."""
    found: torch.Tensor = getattr(output, "pooler_output", output)
    return found
