"""config.json of transformers' models for depth: what it says of neck and head.

The keys: configuration_dpt.py and configuration_depth_anything.py. What stands in `backbone_config`
is read as any image tower is (`towers`), but for the blocks that the head reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vit_convert.architectures import Fact
from vit_convert.errors import RecognitionError
from vit_convert.hf_config.json_reader import ALONE, Reader

DEPTH_MODELS = ("dpt", "depth_anything")
_MOST_MAPS = 64
# what the classes have where a key is left out
_FACTORS: dict[str, Any] = {"reassemble_factors": [4, 2, 1, 0.5], "head_in_index": -1}
_DEFAULTS: dict[str, dict[str, Any]] = {
    "dpt": {
        **_FACTORS,
        "readout_type": "project",
        "neck_hidden_sizes": [96, 192, 384, 768],
        "fusion_hidden_size": 256,
        "add_projection": False,
        "use_batch_norm_in_fusion_residual": False,
        "is_hybrid": False,
    },
    "depth_anything": {
        **_FACTORS,
        "neck_hidden_sizes": [48, 96, 192, 384],
        "fusion_hidden_size": 64,
        "head_hidden_size": 32,
        "depth_estimation_type": "relative",
        "max_depth": 1,
    },
}
_ACTIVATIONS = {"relative": "relu", "metric": "sigmoid"}


def is_depth_config(config: Mapping[str, Any]) -> bool:
    """Whether a config.json is that of a model for depth."""
    return config.get("model_type") in DEPTH_MODELS


def depth_facts(config: Reader) -> dict[str, Fact]:
    """Field of the configuration -> its value, of those of neck and head.

    Raises:
        CheckpointError: a value is impossible.
        RecognitionError: the model has parts that no model here has.
    """
    kind = str(config.data["model_type"])
    reader = config.with_defaults(_DEFAULTS[kind])
    maps = _wholes(reader, "neck_hidden_sizes")
    _refuse(reader, len(maps))
    facts = {
        "neck_dims": _fact(reader, "neck_hidden_sizes", tuple(maps)),
        "neck_factors": _fact(reader, "reassemble_factors", _factors(reader)),
        "fusion_dim": _fact(reader, "fusion_hidden_size", reader.whole("fusion_hidden_size")),
    }
    if taps := _taps(reader, kind):
        facts["taps"] = taps
    if kind == "dpt":
        facts["readout"] = _word(
            reader, "readout_type", {w: w for w in ("ignore", "add", "project")}
        )
        key = "use_batch_norm_in_fusion_residual"
        facts["fusion_norm"] = _fact(reader, key, reader.flag(key))
        facts["head_projection"] = _fact(reader, "add_projection", reader.flag("add_projection"))
    else:
        facts["head_hidden"] = _fact(reader, "head_hidden_size", reader.whole("head_hidden_size"))
        facts["depth_activation"] = _word(reader, "depth_estimation_type", _ACTIVATIONS)
        depth = reader.number("max_depth", 0, 1e6)
        facts["max_depth"] = _fact(reader, "max_depth", depth)
    return facts


def _fact(reader: Reader, key: str, value: Any) -> Fact:
    return Fact(value, "read", reader.why(key))


def _refuse(reader: Reader, maps: int) -> None:
    """Raises RecognitionError for what no model here has."""
    part = reader.part("backbone_config").data
    index = reader.data["head_in_index"]
    backbone = part.get("model_type", "dinov2")
    wrong = {
        # with register tokens, or DINOv3, transformers' own neck fails
        f"backbone_config.model_type is {str(backbone)[:40]!a}": backbone != "dinov2",
        "is_hybrid is true: its patches are those of a convolutional network": (
            reader.data.get("is_hybrid") is True
        ),
        f"head_in_index is {str(index)[:20]!a}: the head reads another sum than the last": (
            index not in (-1, maps - 1)
        ),
        "backbone_config.apply_layernorm is false": part.get("apply_layernorm") is False,
        "backbone_config.reshape_hidden_states is true: the neck takes tokens": (
            part.get("reshape_hidden_states") is True
        ),
    }
    for what, holds in wrong.items():
        if holds:
            raise RecognitionError(
                f"the model for depth is of a kind that is not supported: {what}",
                where=str(reader.path),
                expected="a DPT or a Depth Anything whose head reads tokens of a ViT or a DINOv2",
                hint=ALONE,
            )


def _taps(reader: Reader, kind: str) -> Fact | None:
    """The blocks that the head reads: transformers counts a backbone's stages from the embeddings,
    and DPT's own blocks from the first."""
    part = reader.part("backbone_config")
    if part.data:
        if not part.says("out_indices"):
            return None
        stages = _wholes(part, "out_indices")  # 0 is the embeddings
        return _fact(part, "out_indices", tuple(stage - 1 for stage in stages))
    if kind != "dpt" or not reader.says("backbone_out_indices"):
        return None
    taps = _wholes(reader, "backbone_out_indices", least=0)
    return _fact(reader, "backbone_out_indices", tuple(taps))


def _wholes(reader: Reader, key: str, least: int = 1) -> list[int]:
    """A list of whole numbers."""
    values = reader.data[key]
    fits = isinstance(values, list) and 0 < len(values) <= _MOST_MAPS
    if not fits or not all(type(v) is int and least <= v < 1 << 16 for v in values):
        raise reader.wrong(key, f"whole numbers of {least} or more")
    return list(values)


def _factors(reader: Reader) -> tuple[float, ...]:
    values = reader.data["reassemble_factors"]
    fits = isinstance(values, list) and 0 < len(values) <= _MOST_MAPS
    if not fits or not all(type(v) in (int, float) and 1e-3 <= v <= 1e3 for v in values):
        raise reader.wrong("reassemble_factors", "numbers such as 4, 2, 1 and 0.5")
    return tuple(float(value) for value in values)


def _word(reader: Reader, key: str, words: Mapping[str, str]) -> Fact:
    value = reader.data[key]
    if not isinstance(value, str) or value not in words:
        raise reader.wrong(key, " or ".join(words))
    return _fact(reader, key, words[value])
