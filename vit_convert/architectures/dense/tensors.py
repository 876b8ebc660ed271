"""The values of a Vision Transformer with a dense head that the names and shapes of its tensors
tell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vit_convert.architectures.base import Overrides
from vit_convert.architectures.dense.parameters import HEAD
from vit_convert.architectures.parameters import Shape
from vit_convert.architectures.recognition import depth_of, shape_of
from vit_convert.architectures.vit.tensors import read_vit
from vit_convert.errors import RecognitionError

STRIDED = 3  # side of the filter that makes a map smaller


def read_dense(shapes: Mapping[str, Shape], overrides: Overrides) -> dict[str, Any]:
    """As `read_vit`, and the fields of the head.

    Raises:
        RecognitionError: the tensors are those of a model that is not supported, or contradict each
            other.
    """
    return {**read_vit(of_backbone(shapes), overrides), **read_head(shapes)}


def of_backbone(shapes: Mapping[str, Shape]) -> dict[str, Shape]:
    """The shapes of all but the head."""
    return {name: shape for name, shape in shapes.items() if not name.startswith(f"{HEAD}.")}


def read_head(shapes: Mapping[str, Shape]) -> dict[str, Any]:
    """Field of the configuration -> its value, of those of the head."""
    if f"{HEAD}.classes.weight" in shapes:
        return {
            "head": "linear",
            "head_norm": f"{HEAD}.norm.weight" in shapes,
            "num_classes": shape_of(shapes, f"{HEAD}.classes.weight", 4)[0],
        }
    maps = range(depth_of(shapes, f"{HEAD}.project"))
    unit = f"{HEAD}.fusion.0.unit2"
    read: dict[str, Any] = {
        "head": "dpt",
        "neck_dims": tuple(shape_of(shapes, f"{HEAD}.project.{j}.weight", 4)[0] for j in maps),
        "fusion_dim": shape_of(shapes, f"{HEAD}.neck.0.weight", 4)[0],
        "fusion_norm": f"{unit}.norm1.weight" in shapes,
        "fusion_bias": f"{unit}.conv1.bias" in shapes,
        "head_projection": f"{HEAD}.projection.weight" in shapes,
        "head_hidden": shape_of(shapes, f"{HEAD}.conv2.weight", 4)[0],
    }
    if f"{HEAD}.readout.0.weight" in shapes:
        read["readout"] = "project"
    last = f"{HEAD}.conv3.weight"
    if shape_of(shapes, last, 4)[0] != 1:
        raise RecognitionError(
            "the head gives several values for each pixel, and a depth is one",
            where=f"{last} {shapes[last]}",
        )
    return read


def resize_sides(shapes: Mapping[str, Shape], maps: int) -> list[int]:
    """The side of the filter that resizes each map, 1 where there is none."""
    names = [f"{HEAD}.resize.{j}.weight" for j in range(maps)]
    return [shape_of(shapes, name, 4)[2] if name in shapes else 1 for name in names]
