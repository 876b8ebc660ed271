"""An entry of the table of published models."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import torch
from published.modules import Reading, read_module
from torch import nn

from vit_convert.architectures import ModelSpec, resolve
from vit_convert.architectures.published import TRAINING, PublishedModel, default_values
from vit_convert.checkpoint.tensor import LazyTensor
from vit_convert.dialects import read_as_canonical
from vit_convert.errors import VitConvertError
from vit_convert.parity.sources.timm_models import own_state
from vit_convert.parity.sources.torch_compat import import_vision

timm = import_vision("timm")
from timm.data import resolve_data_config  # noqa: E402  # timm must be imported as above first

MODULES = ("vision_transformer", "deit", "beit", "eva", "cait", "qwen3_vit")
_GRID = (4, 5)  # patches of a copy that is compared
_NOISE = 1e-4  # relative; both sides are timm's, in float32


def entry(name: str) -> tuple[str, dict[str, Any]]:
    """The architecture's name, and what the table says of the model."""
    with torch.device("meta"):
        model = timm.create_model(name)
    reading = read_module(model)
    found: dict[str, Any] = {}
    problems = [*reading.foreign, *reading.problems]
    if not reading.foreign:
        if _has_its_tensors(reading):
            found["config"] = _compact(reading)
            problems += [
                f"{field} {value[1:-1]}"
                for field, value in reading.values.items()
                if isinstance(value, str) and value[:1] == "<"
            ]
            if not problems and (difference := _difference(name, model)):
                problems.append(difference)
        else:
            problems.append("its tensors are those of no model here")
    if reading.dialect != PublishedModel.dialect:
        found["dialect"] = reading.dialect
    found["pictures"] = _pictures(name)
    if problems:
        found["unsupported"] = "; ".join(problems)
    return reading.family.name, found


def _expressible(reading: Reading) -> Any:
    """The configuration, with defaults in place of what it cannot have."""
    known = {f.name for f in fields(reading.family.config_class)}
    values = {
        k: v
        for k, v in reading.values.items()
        if k in known and not (isinstance(v, str) and v[:1] == "<")
    }
    return reading.family.config_class(**values)


def _has_its_tensors(reading: Reading) -> bool:
    ours = {p.name: p.shape for p in reading.family.parameters(_expressible(reading))}
    return ours == reading.shapes


def _compact(reading: Reading) -> dict[str, Any]:
    """The values that are not the configuration's defaults, in its order."""
    usual = default_values(reading.family.config_class)
    order = [f.name for f in fields(reading.family.config_class) if f.name not in TRAINING]
    return {
        name: reading.values[name]
        for name in order
        if name in reading.values and usual.get(name) != reading.values[name]
    }


def _pictures(name: str) -> list[dict[str, Any]]:
    """How pictures are prepared for each pretrained weights, the default's first."""
    default = timm.get_pretrained_cfg(name)
    tags = [default.tag or ""]
    tags += [
        known.partition(".")[2]
        for known in timm.list_models(f"{name}.*", pretrained=True)
        if known.partition(".")[0] == name
    ]
    found: dict[str, dict[str, Any]] = {}
    for tag in dict.fromkeys(tags):
        weights = timm.get_pretrained_cfg(f"{name}.{tag}" if tag else name)
        data = resolve_data_config(pretrained_cfg=weights.to_dict())
        keys = ("mean", "std", "interpolation", "crop_pct", "crop_mode")
        pictures = {key: data[key] for key in keys}
        found.setdefault(str(pictures), {"tags": [], **pictures})["tags"].append(tag)
    return list(found.values())


def _difference(name: str, whole: Any) -> str:
    """What is different where a copy of one block computes something else than our model of its
    values; "" where it does not.

    Args:
        name: of the model.
        whole: the model with all blocks.
    """
    options: dict[str, Any] = {"depth": 1, "num_classes": 7}
    patches = getattr(whole, "encoder", whole).patch_embed
    sides = zip(patches.patch_size, _GRID, strict=True)
    options["img_size"] = tuple(side * n for side, n in sides)
    heads = [m.num_kv_heads for m in whole.modules() if hasattr(m, "num_kv_heads")]
    if heads:
        options["num_kv_heads"] = min(heads)  # otherwise there may be a number for each block
    model = timm.create_model(name, **options).eval()
    generator = torch.Generator().manual_seed(0)
    norms = [m for m in model.modules() if isinstance(m, nn.LayerNorm)]
    scales = {id(m.weight) for m in norms if m.weight is not None}
    with torch.no_grad():
        for parameter in model.parameters():
            deviation = 1.0 if parameter.ndim < 2 else 2.0 / parameter.shape[-1] ** 0.5
            parameter.normal_(float(id(parameter) in scales), deviation, generator=generator)
    reading = read_module(model)
    try:
        ours = _source_model(reading, model)
    except VitConvertError as error:
        return f"it cannot be run: {error.what}"
    config = _expressible(reading)
    images = torch.randn((1, config.in_channels, *config.image_size), generator=generator)
    with torch.inference_mode():
        theirs, got = model(images), ours(images)
    error = float((theirs - got).abs().max() / theirs.abs().max())
    return "" if error <= _NOISE else f"it computes something else (relative error {error:.0e})"


def _source_model(reading: Reading, model: nn.Module) -> nn.Module:
    """Our model of the values that were read, with the module's parameters."""
    config = _expressible(reading)
    spec = ModelSpec(reading.family.name, config)
    ours = resolve(reading.family.source_model)(spec, config.num_classes)
    tensors = {k: LazyTensor.of(k, v.numpy()) for k, v in model.state_dict().items()}
    ledger = read_as_canonical(tensors, "its module")
    state = {k: torch.from_numpy(t.read().copy()) for k, t in ledger.tensors.items()}
    ours.load_state_dict(own_state(ours, state), strict=True)
    return ours.eval()
