"""Which weights of a model are trained: all, some blocks, the heads alone, or LoRA's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal, get_args

from vit_convert.architectures import ModelSpec
from vit_convert.errors import UsageError
from vit_convert.models.layers.base import Layer
from vit_convert.models.layers.linear import Linear

if TYPE_CHECKING:
    from vit_convert.models.base import ConvertedModel

HEADS = ("head", "head_dist")
LoraTarget = Literal["qkv", "proj", "mlp"]
_LAYERS: dict[str, tuple[str, ...]] = {
    "qkv": ("qkv", "q", "k", "v"),  # CaiT's class attention has them apart
    "proj": ("proj",),
    "mlp": ("fc1", "fc1_g", "fc1_x", "fc2"),
}


def frozen_layers(spec: ModelSpec, until: int | None) -> set[str]:
    """The names of the layers that are frozen; see `ConvertedModel.freeze_backbone`.

    Raises:
        UsageError: there are not so many blocks.
    """
    layers = [*dict.fromkeys(parameter.layer for parameter in spec.parameters())]
    if until is None:
        return {name for name in layers if name not in HEADS}
    blocks = spec.block_names()[1:]
    if not 0 <= until <= len(blocks):
        raise UsageError(
            f"the model has no block {until}",
            where="until",
            expected=f"0 to {len(blocks)}, which is how many of its {len(blocks)} blocks to freeze",
        )
    before = layers[: layers.index(blocks[-1])]
    return {name for name in before if name not in blocks} | {*blocks[:until]}


def set_frozen(model: ConvertedModel, frozen: set[str]) -> None:
    """Freeze the layers of these names, and no others.

    Raises:
        UsageError: LoRA is on.
    """
    if model.lora_layers():
        raise UsageError(
            "LoRA has frozen the backbone, and trains its own weights and the head",
            hint="model.merge_lora() first",
        )
    for layer in model.layers:
        layer.trainable = layer.name not in frozen


def enable_lora(
    model: ConvertedModel,
    rank: int,
    targets: Sequence[LoraTarget],
    alpha: float | None,
    seed: int,
) -> None:
    """See `ConvertedModel.enable_lora`."""
    if model.lora_layers():
        raise UsageError("LoRA is on already", hint="model.merge_lora() first")
    dim = model.spec.config.embed_dim
    if not 1 <= rank < dim:
        raise UsageError(
            f"the rank cannot be {rank}", where="rank", expected=f"1 to {dim - 1}, below the width"
        )
    unknown = [target for target in targets if target not in _LAYERS]
    if unknown or not targets:
        raise UsageError(
            f"there is no target {unknown[0]!r}" if unknown else "there are no targets",
            where="targets",
            expected="some of " + ", ".join(get_args(LoraTarget)),
        )
    wanted = {name for target in targets for name in _LAYERS[target]}
    set_frozen(model, set())
    blocks = model.spec.block_names()[1:]
    number = seed
    for layer in model.layers:
        if layer.name in HEADS:
            continue
        for part in _parts(layer):
            part.freeze([*part.trainable_weights, *part.non_trainable_weights])
            if layer.name in blocks and isinstance(part, Linear) and part.name in wanted:
                number += 1
                part.add_lora(rank, (rank if alpha is None else alpha) / rank, number)


def merge_lora(model: ConvertedModel) -> None:
    """See `ConvertedModel.merge_lora`."""
    for linear in model.lora_layers():
        linear.merge_lora()
    for layer in model.layers:
        for part in _parts(layer):
            part.freeze(())


def linears(model: ConvertedModel) -> Iterator[Linear]:
    """All linear layers."""
    for layer in model.layers:
        for part in _parts(layer):
            if isinstance(part, Linear):
                yield part


def _parts(layer: Layer) -> list[Layer]:
    """A layer of the model, and the layers in it."""
    return [part for part in (layer, *layer.submodules) if isinstance(part, Layer)]
