"""Transforms of biases of q, k and v where keys have none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from vit_convert.dialects.transforms import Arrays, MisfitError, Transform, alike, ranked


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
