"""The options of `export`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vit_convert.architectures import Output

# int8-dynamic: weights of one byte each, activations in float; int8: activations of linear layers
# of one byte too; int16x8: weights of one byte, activations of two
Precision = Literal["float32", "float16", "int8-dynamic", "int8", "int16x8"]
CALIBRATED: tuple[Precision, ...] = ("int8", "int16x8")  # made with the ranges that pictures show
QUANTISED: tuple[Precision, ...] = ("int8-dynamic", *CALIBRATED)
# How pixels enter an artifact: normalised with mean and std; RGB in 0..255; RGB in 0..1. Tokens of
# texts enter as they are.
InputRange = Literal["normalised", "0..255", "0..1", "tokens"]
# Which linear layers of a quantised file stay in float: those that a search finds, none, or those
# whose names match one of these patterns
KeepFloat = Literal["auto", "none"] | tuple[str, ...]


@dataclass(frozen=True)
class ExportOptions:
    """The options of one exported artifact.

    Attributes:
        precision: of a TFLite file.
        batch_size: of the input; None for what suits the target: 1 for TFLite, dynamic elsewhere.
        attention: give the attention maps too, under the names that published models use.
        output: "logits" (what the model was made to give, also where that is another thing),
            "softmax" (their probabilities), "sigmoid" (a probability for each class by itself),
            "features" (what the head would see), "embedding" (a vector of length 1 for search:
            CLIP's projection, else the features) or "tokens" (those of the patches, with the last
            norm applied).
        block: whose tokens are given, counted from 0; the last by default.
        embed_preprocessing: take RGB in 0..255 and normalise in the graph.
        input_type: of such pixels in a TFLite file. GPU delegates take float32 alone.
        calibration: a folder of pictures that int8 precisions are made and compared on. The
            artifact does not tell it.
        keep_float: the linear layers of int8 precisions that stay in float. "auto": those that a
            search on the calibration pictures finds, where too few of these agree without. "none":
            no search, every layer is quantised. Shell patterns, `("blocks.0.*", "head")`: no
            search, the layers whose names match one. Names are those that `export` tells.
    """

    precision: Precision = "float32"
    batch_size: int | Literal["dynamic"] | None = None
    attention: bool = False
    output: Output = "logits"
    block: int | None = None
    embed_preprocessing: bool = False
    input_type: Literal["uint8", "float32"] = "uint8"
    calibration: Path | None = None
    keep_float: KeepFloat = "auto"
