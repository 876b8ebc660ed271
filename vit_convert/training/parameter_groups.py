"""What sets parameters apart for the optimizer: layer-wise decay of the learning rate, and weight
decay."""

from __future__ import annotations

from dataclasses import dataclass

from vit_convert.architectures import ModelSpec


@dataclass(frozen=True)
class ParameterGroup:
    """How a parameter is trained.

    Attributes:
        scale: factor of the learning rate.
        decays: whether weight decay holds.
    """

    scale: float
    decays: bool


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
    blocks = {name: i for i, name in enumerate(spec.block_names())}  # "embeddings" is 0
    head = len(blocks)
    return {
        parameter.name: ParameterGroup(
            scale=layer_decay ** (head - _layer(parameter.layer, blocks, head)),
            decays=parameter.kind in ("linear", "conv") and parameter.name.endswith(".weight"),
        )
        for parameter in spec.parameters()
    }


def _layer(name: str, blocks: dict[str, int], head: int) -> int:
    if name in blocks:
        return blocks[name]
    if name == "norm":
        return head - 1
    above = ("head", "head_dist", "fc_norm", "attn_pool")
    return head if name in above else 0
