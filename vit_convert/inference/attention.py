"""The places that a model looks at: the attention that the class token pays to each patch, in one
block or rolled out over all of them.

In models that pool otherwise than by a class token, the mean over the patches takes its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from vit_convert.architectures import ModelSpec, architecture
from vit_convert.errors import ArtifactError, UsageError
from vit_convert.exporters.artifact import Artifact, Outputs

Query = Literal["class token", "mean over patches"]


@dataclass(frozen=True)
class AttentionLayer:
    """The attention of one block in one picture.

    Attributes:
        name: "block 11", "class-attention block 1".
        heads: (heads, rows, columns) attention paid to each patch, as the model has it: with what
            is paid to the prefix tokens, a head's map sums to 1.
    """

    name: str
    heads: np.ndarray


@dataclass(frozen=True)
class AttentionView:
    """The attention of a model in one picture.

    Attributes:
        layers: the blocks asked for, in the model's order.
        saliency: (rows, columns), one map in all.
        saliency_of: what that is, for people.
        query: who looks.
    """

    layers: tuple[AttentionLayer, ...]
    saliency: np.ndarray
    saliency_of: str
    query: Query


def attention_of(artifact: Artifact, images: np.ndarray) -> Outputs:
    """The attention maps of all blocks.

    Args:
        artifact: an open artifact.
        images: (n, height, width, channels) float32 in the artifact's input range.

    Returns:
        as `Artifact.attention`.

    Raises:
        ArtifactError: the artifact does not give its attention maps.
    """
    if artifact.attention is None:
        raise ArtifactError(
            "does not give its attention maps",
            where=str(artifact.path),
            expected="the .h5 that torch2keras wrote, or an artifact exported with --attention",
            hint="vit-convert export MODEL.h5 --attention",
        )
    return artifact.attention(images)


def look(
    spec: ModelSpec,
    maps: Outputs,
    *,
    block: int | None = None,
    head: int | None = None,
    roll_out: bool = False,
) -> AttentionView:
    """The attention of a model in one picture.

    A model whose class token has blocks of its own (CaiT) shows all of these, and the mean over the
    heads of the first as saliency, as figures 6 and 7 of arXiv:2103.17239 do. Other models show the
    last block, and the mean over its heads.

    Args:
        spec: what the model is.
        maps: of one picture, as `attention_of` gives them.
        block: this one, from 0; negative from the end. Of a CaiT, among its class-attention blocks.
        head: this one alone, from 0.
        roll_out: take the attention rollout over all blocks as saliency.

    Raises:
        UsageError: there are no maps, or no such block or head, or the model's attention cannot be
            rolled out.
    """
    query: Query = "class token" if spec.config.pool == "token" else "mean over patches"
    family = architecture(spec.architecture)
    kind, shown = family.shown_attention(maps)
    if not shown:
        raise UsageError(
            f"there are no attention maps of a {family.title}",
            where="attention",
            expected="a model whose attention depends on the picture, such as a ViT",
        )
    chosen = [maps[point][0] for point in shown]
    indices = list(range(len(chosen))) if len(family.attention_names) > 1 else [-1]
    if block is not None:
        indices = [block]
    layers = []
    for index in indices:
        place = _checked(index, len(chosen), f"--block {index}", kind)
        heads = towards_patches(chosen[place], spec.config.grid, query)
        if head is not None:
            _checked(head, len(heads), f"--head {head}", "head")
        layers.append(AttentionLayer(f"{kind} {place}", heads))
    if roll_out:
        if family.no_rollout:
            raise UsageError(
                f"the attention of a {family.title} cannot be rolled out: {family.no_rollout}",
                where="--rollout",
                expected="a ViT or a DeiT",
                hint=f"--block N, a {kind}",
            )
        rolled = rollout(chosen)[None]
        saliency = towards_patches(rolled, spec.config.grid, query)[0]
        return AttentionView(tuple(layers), saliency, f"rollout over {len(chosen)} blocks", query)
    first = layers[0]
    if head is not None:
        return AttentionView(tuple(layers), first.heads[head], f"{first.name}, head {head}", query)
    mean = first.heads.mean(axis=0)
    return AttentionView(
        tuple(layers), mean, f"{first.name}, mean of {len(first.heads)} heads", query
    )


def towards_patches(weights: np.ndarray, grid: tuple[int, int], query: Query) -> np.ndarray:
    """The attention paid to each patch.

    Args:
        weights: (heads, queries, tokens); the patches are the last tokens, and the class token is
            the first.
        grid: patches per column and per row.
        query: whether the class token asks, or the patches, whose mean is taken.

    Returns:
        (heads, rows, columns)
    """
    patches = grid[0] * grid[1]
    asked = weights[:, 0] if query == "class token" else weights[:, -patches:].mean(axis=1)
    return asked[:, -patches:].reshape(len(weights), *grid)


def rollout(blocks: Sequence[np.ndarray]) -> np.ndarray:
    """Attention rollout (Abnar and Zuidema 2020, arXiv:2005.00928): how much each token of the last
    block is made of each token of the input, if attention is all that mixes them.

    The heads are averaged, the residual connection counts for half, and the blocks are multiplied:
    prod_i (mean_heads(A_i) + I) / 2, the last block first.

    Args:
        blocks: attention weights (heads, tokens, tokens), the first block first.

    Returns:
        (tokens, tokens) float64; rows sum to 1.
    """
    tokens = blocks[0].shape[-1]
    rolled = np.eye(tokens)
    for weights in blocks:
        rolled = (weights.astype(np.float64).mean(axis=0) + np.eye(tokens)) / 2 @ rolled
    return rolled


def _checked(index: int, count: int, option: str, kind: str) -> int:
    if not -count <= index < count:
        raise UsageError(
            f"there is no such {kind}: the model has {count}",
            where=option,
            expected=f"0 to {count - 1}, or last" if "block" in kind else f"0 to {count - 1}",
        )
    return index % count
