"""Judges what recognition says of a model, by the model's own numbers."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from families import randomise, tensors_of

from vit_convert.architectures import ModelSpec
from vit_convert.checkpoint import open_checkpoint
from vit_convert.checkpoint.tensor import Tensors
from vit_convert.conversion.convert import Conversion, recognise
from vit_convert.dialects import read_as_canonical
from vit_convert.errors import VitConvertError
from vit_convert.exporters import ExportOptions
from vit_convert.exporters.tflite.writer import TfliteWriter

Kind = Literal["right", "assumed", "refused", "silent", "unjudged"]
LIMIT = 1e-5  # relative difference of outputs; float noise stays below a tenth of it


@dataclass(frozen=True)
class Verdict:
    """What came of one model.

    Attributes:
        name: the model's.
        kind: see the package.
        why: the values that differ, or the error's message.
        seconds: that recognition took.
    """

    name: str
    kind: Kind
    why: str = ""
    seconds: float = 0.0


class UnjudgedError(Exception):
    """The model cannot be run on pictures; says why."""


@dataclass(frozen=True)
class _Weights:
    """The model for an exporter."""

    spec: ModelSpec
    weights: Mapping[str, np.ndarray]


def write_empty(path: Path, model: torch.nn.Module) -> None:
    """A `.safetensors` of the model's names and shapes, whose values are a hole in the file."""
    header, end = {}, 0
    for name, tensor in model.state_dict().items():
        start, end = end, end + 4 * tensor.numel()
        header[name] = {"dtype": "F32", "shape": [*tensor.shape], "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)


Equal = Callable[[Conversion, Mapping[str, Any]], bool]


def judge(
    name: str, path: Path, equal: Equal, truth: Mapping[str, Any], pictures: Mapping[str, Any]
) -> Verdict:
    """Recognise a checkpoint and compare.

    Args:
        name: the model's, for the verdict.
        path: the checkpoint.
        equal: whether what was recognised gives the model's numbers, with some changes to its
            configuration.
        truth: field of the configuration -> its value, of those that tensors do not tell.
        pictures: the same of the preprocessing.
    """
    started = time.perf_counter()
    try:
        found = recognise(open_checkpoint(path))
    except VitConvertError as error:
        return Verdict(name, "refused", str(error), time.perf_counter() - started)
    seconds = time.perf_counter() - started
    facts = found.facts
    told = {k for k, fact in facts.items() if fact.provenance == "assumed"}

    def verdict(kind: Kind, wrong: Mapping[str, Any]) -> Verdict:
        words = (f"{k} {facts[k].value} where the model has {v}" for k, v in wrong.items())
        return Verdict(name, kind, "; ".join(words), seconds)

    def differing(values: Mapping[str, Any]) -> dict[str, Any]:
        known = {k: v for k, v in values.items() if k in facts}
        return {k: v for k, v in known.items() if not _same(facts[k].value, v)}

    wrong = differing(pictures)
    try:
        same = equal(found, {})
    except UnjudgedError as error:
        return Verdict(name, "unjudged", str(error), seconds)
    if untold := {k: v for k, v in wrong.items() if k not in told}:
        return verdict("silent", untold)
    if same:
        return verdict("assumed" if wrong else "right", wrong)
    others = differing(truth)
    assumed = {k: v for k, v in others.items() if k in told}
    beyond = any(isinstance(value, str) and value.startswith("[") for value in assumed.values())
    if beyond or (assumed and equal(found, assumed)):
        return verdict("assumed", wrong | assumed)
    if untold := {k: v for k, v in others.items() if k not in told}:
        return verdict("silent", untold)
    why = "the numbers differ, and no value that was read explains it"
    return Verdict(name, "silent", why, seconds)


def equal_to(small: Callable[[], torch.nn.Module]) -> Equal:
    """Compares with a timm model of fewer blocks, which is made and randomised when it is needed.

    Args:
        small: makes it.
    """
    made: list[torch.nn.Module] = []

    def equal(found: Conversion, changes: Mapping[str, Any]) -> bool:
        made[:] = made or [randomise(small())]
        model, stem = made[0], found.checkpoint.path.stem
        ledger = read_as_canonical(tensors_of(model), "the small model", stem=stem)
        depths = {"depth": len(model.blocks)}
        if hasattr(found.spec.config, "depth_token_only"):
            depths["depth_token_only"] = len(model.blocks_token_only)
        spec = found.spec.with_config(**depths, **changes)
        images = images_for(spec)
        if images.shape[1:3] != tuple(model.patch_embed.img_size):
            return False
        got = outputs_of(spec, ledger.tensors, images)
        with torch.inference_mode():
            expected = model(channels_first(images)).numpy()
        return got is not None and close(got, expected)

    return equal


def images_for(spec: ModelSpec) -> np.ndarray:
    """Noise, (1, height, width, channels)."""
    shape = (1, *spec.config.image_size, spec.config.in_channels)
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def channels_first(images: np.ndarray) -> torch.Tensor:
    """As PyTorch takes images, (n, channels, height, width)."""
    return torch.from_numpy(images.transpose(0, 3, 1, 2).copy())


def outputs_of(spec: ModelSpec, tensors: Tensors, images: np.ndarray) -> np.ndarray | None:
    """Logits or features of our model, computed in NumPy; None if these are not its tensors."""
    wanted = {p.name: p.shape for p in spec.parameters()}
    if wanted != {name: tensor.shape for name, tensor in tensors.items()}:
        return None
    weights = {name: tensors[name].read().astype(np.float32) for name in wanted}
    return TfliteWriter(_Weights(spec, weights), ExportOptions()).float32_outputs(images)


def close(got: np.ndarray, expected: np.ndarray) -> bool:
    """Whether they are equal but for float noise."""
    if got.shape != expected.shape:
        return False
    return bool(np.abs(got - expected).max() <= LIMIT * np.abs(expected).max())


def _same(value: Any, other: Any) -> bool:
    if isinstance(value, (tuple, list)):
        return len(value) == len(other) and all(map(_same, value, other))
    if isinstance(value, float) or isinstance(other, float):
        return not isinstance(other, str) and abs(value - other) <= 1e-9 + 1e-6 * abs(value)
    return bool(value == other)
