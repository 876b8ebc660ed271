"""A classifier that was made of words, in transformers' own CLIP or SigLIP: `logits_per_image`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vit_convert.architectures import ModelSpec
from vit_convert.checkpoint import Checkpoint
from vit_convert.dialects import Ledger
from vit_convert.parity.sources.text_towers import described, pooled, whole_model
from vit_convert.parity.sources.transformers_classes import kind_of
from vit_convert.parity.sources.transformers_models import inputs_of, layers_of
from vit_convert.parity.sources.watched import WatchedModel
from vit_convert.words.prompts import prompts
from vit_convert.words.tokenizer import read_tokenizer

if TYPE_CHECKING:
    import torch


def build(spec: ModelSpec, checkpoint: Checkpoint, ledger: Ledger, features: bool) -> WatchedModel:
    """See `vit_convert.parity.sources.source_model`.

    Both towers are transformers', and so is the comparison of their embeddings; the tokens are
    those of the folder's tokenizer. With `features`: embeddings of pictures, of length 1.

    Raises:
        UsageError: transformers has no such model.
    """
    model = whole_model(checkpoint, ledger, "its classes are words, which a text tower reads")
    import torch

    siglip = model.config.model_type.startswith("siglip")
    text = model.config.text_config
    templates = spec.source.templates
    tokenize = read_tokenizer(
        checkpoint.path.parent, text.max_position_embeddings, text.vocab_size, siglip
    )
    ids = torch.from_numpy(tokenize(prompts(spec.labels, templates)))
    words = kind_of(ledger.dialect.name)

    def unit(x: torch.Tensor) -> torch.Tensor:
        return x / x.norm(dim=-1, keepdim=True)

    with torch.inference_mode():
        each = unit(pooled(model.get_text_features(input_ids=ids)))
        classes = unit(each.reshape(len(spec.labels), len(templates), -1).mean(dim=1))

    def forward(images: torch.Tensor) -> torch.Tensor:
        inputs = inputs_of(words, images, spec)
        if len(templates) == 1 and not features:
            result: torch.Tensor = model(input_ids=ids, **inputs).logits_per_image
            return result
        embeddings = unit(pooled(model.get_image_features(**inputs)))
        if features:
            return embeddings
        logits = embeddings @ classes.T * model.logit_scale.exp()
        return logits + model.logit_bias if siglip else logits

    layers = layers_of(model.vision_model)
    blocks = dict(zip(spec.block_names()[1:], layers, strict=True))
    return WatchedModel(model, forward, blocks, described(model))
