"""What sets parameters apart for the optimizer: layer-wise decay of the learning rate, and weight
decay."""

from __future__ import annotations

from dataclasses import dataclass

from vit_convert.architectures import ModelSpec
from vit_convert.architectures.parameters import Parameter

_ABOVE_BLOCKS = ("head", "head_dist", "fc_norm", "attn_pool")

_LEAST = 16  # rows and columns of a matrix for Muon


@dataclass(frozen=True)
class ParameterGroup:
    """How a parameter is trained.

    Attributes:
        scale: factor of the learning rate.
        decays: whether weight decay holds.
        matrices: of how many matrices, side by side, the weight of a block's linear layer is made;
            0 for everything else.
    """

    scale: float
    decays: bool
    matrices: int = 0


def parameter_groups(spec: ModelSpec, layer_decay: float) -> dict[str, ParameterGroup]:
    """The group of each parameter, by its canonical name.

    Layer-wise decay (Clark et al. 2020, arXiv:2003.10555; BEiT, arXiv:2106.08254) counts as timm's
    `param_groups_layer_decay` does: patches, tokens and positions are the lowest layer, each block
    is one, and the head is the highest; the last norm goes with the last block. Weight decay holds
    for the weights of linear layers and convolutions, not for norms, biases, tokens and positions.

    Args:
        spec: what the model is.
        layer_decay: factor of the learning rate from each layer to the one below it.
    """
    return {
        parameter.name: ParameterGroup(
            scale=layer_scale(spec, layer_decay, parameter.layer),
            decays=parameter.kind in ("linear", "conv") and parameter.name.endswith(".weight"),
            matrices=_matrices(parameter),
        )
        for parameter in spec.parameters()
    }


def _matrices(parameter: Parameter) -> int:
    inside = parameter.layer.startswith("blocks") and parameter.kind == "linear"
    if not (inside and parameter.name.endswith(".weight") and min(parameter.shape) >= _LEAST):
        return 0  # CaiT's mixtures of a few heads are no matrices of features
    return 3 if parameter.name.endswith(".qkv.weight") else 1


def layer_scale(spec: ModelSpec, layer_decay: float, layer: str) -> float:
    """The factor of the learning rate of a layer of the Keras model: "blocks.3", "head", ..."""
    blocks = spec.block_names()  # the first is "embeddings"
    head = len(blocks)
    if layer in blocks:
        place = blocks.index(layer)
    elif layer == "norm":
        place = head - 1
    else:
        place = head if layer in _ABOVE_BLOCKS else 0
    return layer_decay ** (head - place)
