"""Each transform gives what NumPy does by hand, goes back bit for bit, and refuses what it must."""

from __future__ import annotations

import numpy as np
import pytest

from vit_convert.dialects.attention_transforms import (
    BIAS_WITHOUT_KEYS,
    JAX_OUTPUT,
    Q_AND_KV,
    jax_head_biases,
    jax_heads,
)
from vit_convert.dialects.rule_files import NAMED
from vit_convert.dialects.transforms import (
    CONVOLUTION,
    CUT_OUT_PATCHES,
    HWIO,
    TRANSPOSED,
    UNFOLDED_PATCHES,
    MisfitError,
    Transform,
    joined,
    with_axes,
)

RNG = np.random.default_rng(0)
HEADS = 3


def arrays(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    return [RNG.standard_normal(shape) for shape in shapes]


CASES: dict[str, tuple[Transform, list[tuple[int, ...]]]] = {
    "joined": (joined(3), [(4, 5)] * 3),
    "q and kv": (Q_AND_KV, [(12, 5)]),
    "bias without keys": (BIAS_WITHOUT_KEYS, [(4,), (4,)]),
    "transposed": (TRANSPOSED, [(4, 5)]),
    "hwio": (HWIO, [(2, 3, 5, 7)]),
    "axes": (with_axes(2), [(5,)]),
    "unfolded": (UNFOLDED_PATCHES, [(7, 3 * 4 * 4)]),
    "cut out": (CUT_OUT_PATCHES, [(7, 3 * 4 * 4)]),
    "convolution": (CONVOLUTION, [(2, 3, 5, 7)]),
    "flax heads": (jax_heads(3), [(12, HEADS, 4)] * 3),
    "flax biases": (jax_head_biases(3), [(HEADS, 4)] * 3),
    "flax output": (JAX_OUTPUT, [(HEADS, 4, 11)]),
}


@pytest.mark.parametrize("name", CASES)
def test_back_is_the_inverse_and_shapes_are_foretold(name: str) -> None:
    transform, shapes = CASES[name]
    sources = arrays(*shapes)
    targets = transform.forward(sources)
    foretold = transform.shapes([source.shape for source in sources])
    assert [target.shape for target in targets] == [tuple(shape) for shape in foretold]
    assert (len(sources), len(targets)) == (transform.sources, transform.targets)
    back = transform.backward(targets, HEADS)
    for got, source in zip(back, sources, strict=True):
        np.testing.assert_array_equal(got, source)


def test_flax_projections_are_the_linear_layers_that_einsum_computes() -> None:
    """flax: q = einsum("td,dhk->thk", x, kernel); out = einsum("thk,hkd->td", y, kernel)."""
    x, kernel, output = arrays((5, 12), (12, HEADS, 4), (HEADS, 4, 11))
    (weight,) = jax_heads(1).forward([kernel])
    heads = np.einsum("td,dhk->thk", x, kernel)
    np.testing.assert_allclose(x @ weight.T, heads.reshape(5, 12))
    (projection,) = JAX_OUTPUT.forward([output])
    expected = np.einsum("thk,hkd->td", heads, output)
    np.testing.assert_allclose(heads.reshape(5, 12) @ projection.T, expected)


def test_cut_out_patches_are_in_the_order_row_column_channel() -> None:
    """As SigLIP 2's image processor reshapes them."""
    picture, weight = arrays((3, 4, 4), (7, 3 * 4 * 4))
    values = picture.transpose(1, 2, 0).reshape(-1)
    (kernel,) = CUT_OUT_PATCHES.forward([weight])
    np.testing.assert_allclose(np.einsum("dchw,chw->d", kernel, picture), weight @ values)


@pytest.mark.parametrize(
    ("transform", "shapes"),
    [
        (joined(3), [(4, 5), (3, 5), (5, 5)]),  # as large as three equal parts
        (Q_AND_KV, [(13, 5)]),
        (TRANSPOSED, [(4, 5, 6)]),
        (HWIO, [(4, 5)]),
        (UNFOLDED_PATCHES, [(7, 3 * 4 * 5)]),  # of no square patch
        (UNFOLDED_PATCHES, [(7, 3, 4, 4)]),
        (CONVOLUTION, [(7, 48)]),
        (jax_heads(3), [(12, 12)] * 3),
        (jax_heads(3), [(12, 3, 4), (12, 4, 3), (12, 3, 4)]),
    ],
    ids=lambda value: value.name if isinstance(value, Transform) else str(value),
)
def test_shapes_that_do_not_fit_are_refused_before_anything_is_read(
    transform: Transform, shapes: list[tuple[int, ...]]
) -> None:
    with pytest.raises(MisfitError, match="shape"):
        transform.shapes(shapes)


def test_names_are_unique() -> None:
    assert all(transform.name == name for name, transform in NAMED.items())
