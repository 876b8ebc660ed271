"""Transforms of attention's projections: q apart from k and v, Flax's axes of heads, and biases of
q, k and v where keys have none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from vit_convert.dialects.transforms import Arrays, MisfitError, Shapes, Transform, alike, ranked


def _query_from_rest(shapes: Shapes) -> Shapes:
    first, *rest = shapes[0]
    if first % 3:
        raise MisfitError(f"has shape {shapes[0]}: no thirds for q, k and v")
    return [(first // 3, *rest), (2 * first // 3, *rest)]


# (3 dim, ...) of q, k, v -> (dim, ...) of q and (2 dim, ...) of k and v
Q_AND_KV = Transform(
    "q and kv",
    1,
    2,
    shapes=_query_from_rest,
    forward=lambda arrays: np.split(arrays[0], [len(arrays[0]) // 3]),
    backward=lambda arrays, heads: [np.concatenate(arrays)],
)


def jax_heads(count: int) -> Transform:
    """Flax's q, k, v kernels (in, heads, head_dim), `count` of them, to (count * in, in)."""

    def shapes(parts: Shapes) -> Shapes:
        inputs, heads, width = alike(ranked(parts, 3))
        return [(count * heads * width, inputs)]

    def backward(arrays: Arrays, heads: int) -> Arrays:
        inputs = arrays[0].shape[1]
        return [part.T.reshape(inputs, heads, -1) for part in np.split(arrays[0], count)]

    return Transform(
        f"flax heads {count}",
        count,
        1,
        shapes=shapes,
        forward=lambda arrays: [np.concatenate([a.reshape(len(a), -1).T for a in arrays])],
        backward=backward,
        heads=lambda shapes: shapes[0][1],
    )


def jax_head_biases(count: int) -> Transform:
    """Flax's q, k, v biases (heads, head_dim), `count` of them, to (count * dim,)."""

    def shapes(parts: Shapes) -> Shapes:
        heads, width = alike(ranked(parts, 2))
        return [(count * heads * width,)]

    return Transform(
        f"flax head biases {count}",
        count,
        1,
        shapes=shapes,
        forward=lambda arrays: [np.concatenate([array.reshape(-1) for array in arrays])],
        backward=lambda arrays, heads: [
            part.reshape(heads, -1) for part in np.split(arrays[0], count)
        ],
    )


def _output_shape(shapes: Shapes) -> Shapes:
    heads, width, outputs = ranked(shapes, 3)[0]
    return [(outputs, heads * width)]


# Flax's output projection (heads, head_dim, out) -> (out, in)
JAX_OUTPUT = Transform(
    "flax output",
    1,
    1,
    shapes=_output_shape,
    forward=lambda arrays: [arrays[0].reshape(-1, arrays[0].shape[2]).T],
    backward=lambda arrays, heads: [arrays[0].T.reshape(heads, -1, len(arrays[0]))],
)


def _without_key_bias(arrays: Arrays, heads: int) -> Arrays:
    query, _, value = np.split(arrays[0], 3)
    return [query, value]


def _without_zero_key_bias(arrays: Arrays, heads: int) -> Arrays:
    query, key, value = np.split(arrays[0], 3)
    if key.any():
        raise MisfitError("has a bias of keys, which rotary position embedding lets softmax see")
    return [query, value]


# BEiT, EVA, DINOv3: keys have no bias, which is a bias of zeros. Any other is dropped without loss,
# because it adds the same to all scores of a query and softmax does not see that; but for rotary
# position embedding, which turns it differently for each key.
_EXACT_BIAS = Transform(
    "bias without keys",
    2,
    1,
    shapes=lambda shapes: [(3 * alike(ranked(shapes, 1))[0],)],
    forward=lambda arrays: [np.concatenate([arrays[0], np.zeros_like(arrays[0]), arrays[1]])],
    backward=_without_zero_key_bias,
)
BIAS_WITHOUT_KEYS = replace(_EXACT_BIAS, backward=_without_key_bias, with_rotary=_EXACT_BIAS)


def _grouped_shapes(shapes: Shapes) -> Shapes:
    query, key, value, *biases, norm = shapes
    alike([key, value])
    ranked([query, key], 2)
    (width,) = norm
    rows, inputs = query
    if key[1] != inputs or key[0] % width or rows % key[0]:
        raise MisfitError(
            f"has queries of shape {query}, and keys of shape {key} in heads of {width}"
        )
    if biases != [(rows,), key[:1], key[:1]]:
        raise MisfitError(f"its biases have the shapes {', '.join(map(str, biases))}")
    return [(3 * rows, inputs), (3 * rows,), norm]


def _grouped(arrays: Arrays) -> Arrays:
    *parts, norm = arrays
    groups, width = len(parts[0]) // len(parts[1]), len(norm)

    def repeated(part: np.ndarray) -> np.ndarray:
        heads = part.reshape(-1, width, *part.shape[1:])
        return heads.repeat(groups, axis=0).reshape(-1, *part.shape[1:])

    query, key, value, query_bias, *biases = parts
    return [
        np.concatenate([query, repeated(key), repeated(value)]),
        np.concatenate([query_bias, *map(repeated, biases)]),
        norm,
    ]


def _ungrouped(arrays: Arrays, heads: int) -> Arrays:
    weight, bias, norm = arrays
    parts = [*np.split(weight, 3), *np.split(bias, 3)]
    by_head = [part.reshape(heads, len(norm), *part.shape[1:]) for part in parts]
    shared = [by_head[i] for i in (1, 2, 4, 5)]  # keys and values

    def repeats(groups: int) -> bool:
        return all((x == x[::groups].repeat(groups, axis=0)).all() for x in shared)

    groups = next(n for n in range(heads, 0, -1) if heads % n == 0 and repeats(n))
    kept = [x[:: groups if i % 3 else 1].reshape(-1, *x.shape[2:]) for i, x in enumerate(by_head)]
    return [*kept, norm]


# grouped-query attention (Ainslie et al. 2023, arXiv:2305.13245): several heads of queries share
# one of keys and values, which is repeated here. Weights and biases of q, k and v, and the norm of
# q, whose length is the width of a head. Going back, heads are one again where they are equal.
GROUPED_QUERIES = Transform(
    "grouped queries", 7, 3, shapes=_grouped_shapes, forward=_grouped, backward=_ungrouped
)


def _masked(arrays: Arrays) -> Arrays:
    bias, mask = arrays
    return [np.where(mask == 0, np.zeros_like(bias), bias * mask)]


def _with_key_mask(arrays: Arrays, heads: int) -> Arrays:
    query, _ = _without_zero_key_bias(arrays, heads)
    ones = np.ones_like(query)
    return [arrays[0], np.concatenate([ones, np.zeros_like(query), ones])]


# DINOv3's own: a bias of q, k and v, and what it is multiplied by, which is zero for the keys
MASKED_KEY_BIAS = Transform(
    "masked bias of keys",
    2,
    1,
    shapes=lambda shapes: [alike(ranked(shapes, 1))],
    forward=_masked,
    backward=_with_key_mask,
)
