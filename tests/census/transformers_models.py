"""The vision models of transformers, shallow and randomised, saved with and without config.json."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from families import import_vision, randomise

from census.judging import (
    UnjudgedError,
    Verdict,
    channels_first,
    close,
    images_for,
    judge,
    outputs_of,
)
from vit_convert.checkpoint import open_checkpoint
from vit_convert.conversion.convert import Conversion, recognise
from vit_convert.errors import VitConvertError

transformers = import_vision("transformers")
from transformers.models.auto import modeling_auto  # noqa: E402  # as above

# of pictures or videos
_FOR_VISION = (
    "MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES",
    "MODEL_FOR_BACKBONE_MAPPING_NAMES",
    "MODEL_FOR_MASKED_IMAGE_MODELING_MAPPING_NAMES",
    "MODEL_FOR_VIDEO_CLASSIFICATION_MAPPING_NAMES",
    "MODEL_FOR_IMAGE_MAPPING_NAMES",
    "MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION_MAPPING_NAMES",
)
_LARGEST = 300_000_000  # parameters of a model that is made here
# keys of configurations that count layers
_LAYERS = (
    "num_hidden_layers",
    "num_layers",
    "n_layer",
    "depth",
    "encoder_layers",
    "decoder_layers",
    "decoder_num_hidden_layers",
)


def class_names() -> list[str]:
    """The classes that transformers lists for vision, and the bare models of the same types."""
    found: dict[str, None] = {}
    types: dict[str, None] = {}
    for mapping in _FOR_VISION:
        for kind, names in getattr(modeling_auto, mapping).items():
            types[kind] = None
            found |= dict.fromkeys((names,) if isinstance(names, str) else names)
    for kind, names in modeling_auto.MODEL_MAPPING_NAMES.items():
        if kind in types or "vision" in kind:
            found |= dict.fromkeys((names,) if isinstance(names, str) else names)
    return list(found)


def shallow(name: str) -> torch.nn.Module | None:
    """A randomised model of the class with two layers; None where transformers makes none without
    more being said, or one that is too large."""
    try:
        model_class = getattr(transformers, name)
        config = model_class.config_class()
        if not name.endswith("Backbone"):  # which names the layer that it gives
            _make_shallow(config)
        with torch.device("meta"):
            size = sum(p.numel() for p in model_class(config).parameters())
        if size > _LARGEST:
            return None
        model: torch.nn.Module = model_class(config)
    except Exception:  # of any library that it needs
        return None
    return randomise(model)


def judge_class(name: str, folder: Path, with_config: bool) -> Verdict | None:
    """Judge what a class saves; None where there is no such model.

    Args:
        name: of the class.
        folder: to save into.
        with_config: whether its config.json is left beside the tensors.
    """
    model = shallow(name)
    if model is None:
        return None
    model.save_pretrained(folder)
    label = name if with_config else f"{name}, without config.json"
    told: dict[str, Any] = {}
    try:
        facts = recognise(open_checkpoint(folder)).facts
        told = {key: fact.value for key, fact in facts.items()}
    except VitConvertError:
        pass
    if getattr(model.config, "num_windows", 1) > 1:
        told["attention"] = "[in windows]"
    if not with_config:
        for file in folder.glob("*config.json"):
            file.unlink()
    return judge(label, folder, partial(_equal, model), told, {})


def _equal(model: torch.nn.Module, found: Conversion, changes: Mapping[str, Any]) -> bool:
    """Whether it gives one of the model's outputs (logits, embeddings, pooled), or one of tokens
    or their mean after a norm, for classes that give tokens or maps."""
    spec = found.spec.with_config(**changes)
    images = images_for(spec)
    got = outputs_of(spec, found.weights, images)
    if got is None:
        return False
    candidates: list[torch.Tensor] = []

    def keep(module: torch.nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, torch.Tensor) and output.ndim == 3:
            candidates.extend(_pooled(output))

    norms = [m for n, m in model.named_modules() if "norm" in n.rpartition(".")[2].lower()]
    hooks = [norm.register_forward_hook(keep) for norm in norms]
    try:
        with torch.inference_mode():
            # a classifier is run whole; of what reads texts too, the image tower
            tower = model if hasattr(model, "classifier") else getattr(model, "vision_model", model)
            output = tower(pixel_values=channels_first(images))
            if hasattr(model, "get_image_features"):  # with its projection
                features = model.get_image_features(pixel_values=channels_first(images))
                candidates.append(getattr(features, "pooler_output", features))
    except (AttributeError, RuntimeError, TypeError, ValueError) as error:  # more inputs
        raise UnjudgedError(f"{type(error).__name__}: {error}") from error
    finally:
        for hook in hooks:
            hook.remove()
    candidates += [output.get(k) for k in ("logits", "image_embeds", "pooler_output")]
    if (tokens := output.get("last_hidden_state")) is not None and tokens.ndim == 3:
        candidates += _pooled(tokens)
    return any(close(got, c.numpy()) for c in candidates if c is not None)


def _pooled(tokens: torch.Tensor) -> list[torch.Tensor]:
    return [tokens[:, 0], tokens.mean(1), tokens[:, 1:].mean(1), tokens[:, :2].mean(1)]


def _make_shallow(config: Any) -> None:
    """Two layers, or one in each stage, here and in the configurations inside."""
    for key, value in vars(config).items():
        if isinstance(value, transformers.PretrainedConfig):
            _make_shallow(value)
        elif key in _LAYERS and isinstance(value, int):
            setattr(config, key, min(value, 2))
        elif key in ("depths", "num_layers", "layers_per_stage") and isinstance(value, list):
            setattr(config, key, [1] * len(value))
        elif key == "layer_types" and isinstance(value, list):  # a word for each layer
            setattr(config, key, value[:2])
        elif key == "mask_ratio":
            setattr(config, key, 0.0)  # MAE's encoder sees all patches, in an order at random
