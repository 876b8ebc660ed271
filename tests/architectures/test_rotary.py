"""Rotary position embedding: its tables are its authors', and what cannot be read is said."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from families import small_eva
from test_recognition import recognise, shapes_of, variant

from vit_convert.architectures import Recognition
from vit_convert.architectures.vit.rotary import neighbours_to_halves, rotary_tables
from vit_convert.checkpoint.tensor import LazyTensor
from vit_convert.dialects import read_as_canonical
from vit_convert.errors import RecognitionError, UsageError
from vit_convert.parity.sources.torch_compat import import_vision

GRID, HEAD_DIM, BASE, PREFIX = (3, 5), 12, 40.0, 2


def timm_tables(kind: str) -> tuple[np.ndarray, np.ndarray]:
    """timm's sines and cosines (patches, channels), in its own order of channels."""
    layers = import_vision("timm").layers
    options: dict[str, Any] = {"feat_shape": list(GRID), "temperature": BASE}
    columns_first = {"grid_indexing": "xy"}
    if kind != "dinov3":
        options |= {
            "eva02": {"ref_feat_shape": [4, 7]},
            "axial": columns_first,
            "pe": {"ref_feat_shape": [4, 7], "grid_offset": 1.0, **columns_first},
        }[kind]
        rope = layers.RotaryEmbeddingCat(HEAD_DIM, in_pixels=False, **options)
    else:
        rope = layers.RotaryEmbeddingDinoV3(HEAD_DIM, rotate_half=True, **options)
    sines, cosines = rope.get_embed().numpy().reshape(15, 2, HEAD_DIM).transpose(1, 0, 2)
    return sines, cosines


@pytest.mark.parametrize("kind", ["eva02", "dinov3", "axial", "pe"])
def test_tables_are_timms(kind: Any) -> None:
    cosines, sines = rotary_tables(kind, GRID, HEAD_DIM, BASE, (4, 7), PREFIX)
    expected_sines, expected_cosines = timm_tables(kind)
    if kind != "dinov3":
        order = neighbours_to_halves(HEAD_DIM)
        assert order.tolist() == [0, 2, 4, 6, 8, 10, 1, 3, 5, 7, 9, 11]
        expected_sines, expected_cosines = expected_sines[:, order], expected_cosines[:, order]
    half = HEAD_DIM // 2
    np.testing.assert_allclose(cosines[PREFIX:], expected_cosines, rtol=0, atol=2e-6)
    np.testing.assert_allclose(sines[PREFIX:, half:], expected_sines[:, half:], rtol=0, atol=2e-6)
    np.testing.assert_array_equal(sines[:, :half], -sines[:, half:])
    np.testing.assert_array_equal(cosines[:PREFIX], 1)
    np.testing.assert_array_equal(sines[:PREFIX], 0)
    assert len(np.unique(np.hstack([cosines, sines])[PREFIX:], axis=0)) == 15


def known(found: Recognition) -> dict[str, tuple[Any, str]]:
    names = ("rotary", "rotary_base", "rotary_grid", "image_size")
    used = [n for n in names if n in found.facts and n not in found.unused]
    return {n: (found.facts[n].value, found.facts[n].provenance) for n in used}


def test_published_models_are_told_by_the_rest_of_their_tensors_and_not_stated_by_them() -> None:
    eva02 = recognise(shapes_of(*variant("eva02_base_patch14_448")))
    assert known(eva02) == {
        "rotary": ("eva02", "assumed"),
        "rotary_base": (10000.0, "assumed"),
        "rotary_grid": ((16, 16), "assumed"),
        "image_size": ((448, 448), "assumed"),
    }
    dinov3 = recognise(shapes_of(*variant("vit_base_patch16_dinov3")))
    assert known(dinov3) == {
        "rotary": ("dinov3", "assumed"),
        "rotary_base": (100.0, "assumed"),
        "image_size": ((256, 256), "assumed"),
    }
    assert dinov3.facts["pool"].provenance == "assumed"
    assert known(recognise(shapes_of(*variant("vit_base_patch16_224"))))["rotary"][0] == "none"


def shapes(**changes: Any) -> dict[str, tuple[int, ...]]:
    """Of a model of no published size."""
    return {p.name: p.shape for p in small_eva(image_size=(32, 40), **changes).spec.parameters()}


SIGNS = {
    "eva02": {"mlp": "swiglu", "mlp_norm": True},
    "dinov3": {"rotary": "dinov3", "reg_tokens": 2, "position": "none", "layer_scale": True},
}


@pytest.mark.parametrize("kind", SIGNS)
def test_what_is_told_by_signs_is_an_assumption_that_an_option_changes(kind: str) -> None:
    found = recognise(shapes(**SIGNS[kind]), num_heads=3)
    assert {k: v for k, v in known(found).items() if k != "image_size"} == {
        "rotary": (kind, "assumed"),
        "rotary_base": ({"eva02": 10000.0, "dinov3": 100.0}[kind], "assumed"),
        **({"rotary_grid": ((16, 16), "assumed")} if kind == "eva02" else {}),
    }
    grid = {"rotary_grid": (4, 7)} if kind == "eva02" else {}
    stated = recognise(shapes(**SIGNS[kind]), num_heads=3, rotary=kind, rotary_base=30.0, **grid)
    assert {v for n, (_, v) in known(stated).items() if n != "image_size"} == {"given"}
    assert stated.config.rotary_base == 30.0
    assert stated.config.rotary_grid == grid.get("rotary_grid", (16, 16))


def test_without_any_positions_the_image_size_is_whatever_is_wanted() -> None:
    found = recognise(shapes(**SIGNS["dinov3"]), num_heads=3)
    assert known(found)["image_size"] == ((224, 220), "assumed")  # in patches of 8 x 10
    found = recognise(shapes(**SIGNS["dinov3"]), num_heads=3, image_size=(48, 70))
    assert known(found)["image_size"] == ((48, 70), "given")
    found = recognise(shapes(**SIGNS["dinov3"]), num_heads=3, image_size=(47, 78))
    assert known(found)["image_size"] == ((47, 78), "given")  # 5 x 7 patches
    with pytest.raises(UsageError, match="smaller than a patch"):
        recognise(shapes(**SIGNS["dinov3"]), num_heads=3, image_size=(48, 9))


def test_swiglu_without_rotary_embedding_can_be_stated() -> None:
    found = recognise(shapes(**SIGNS["eva02"]), num_heads=3, rotary="none")
    assert known(found)["rotary"] == ("none", "given")
    assert "rotary_base" not in known(found)


def test_a_named_variant_tells() -> None:
    found = recognise(
        shapes_of(*variant("eva02_tiny_patch14_224"), num_classes=3),
        variant="eva02_tiny_patch14_336",
    )
    assert known(found)["rotary"] == ("eva02", "published")


def test_heads_that_rotary_embedding_cannot_turn_are_refused() -> None:
    with pytest.raises(RecognitionError) as error:
        recognise(shapes(**SIGNS["dinov3"]), num_heads=2, image_size=(32, 40))
    assert "multiple of 4" in str(error.value.expected)


def shapes_in_timm(name: str) -> dict[str, tuple[int, ...]]:
    """Canonical names and shapes of timm's model of that name."""
    timm = import_vision("timm")
    with torch.device("meta"):
        state = timm.create_model(name).state_dict()
    tensors = {
        key: LazyTensor(key, tuple(value.shape), "float32", lambda: pytest.fail("was read"))
        for key, value in state.items()
    }
    return {key: t.shape for key, t in read_as_canonical(tensors, name).tensors.items()}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("vit_small_patch16_rope_224", {"rotary": "axial", "rotary_base": 100.0}),
        ("vit_small_patch16_rope_mixed_224", {"rotary": "mixed", "num_heads": 6}),
        ("vit_small_patch16_rope_mixed_ape_224", {"rotary": "mixed", "position": "patches"}),
        (
            "vit_pe_core_tiny_patch16_384",
            {"rotary": "pe", "rotary_base": 1e4, "pool_heads": 8, "pool_prefix": True},
        ),
        ("vit_pe_core_base_patch16_224", {"rotary": "pe", "rotary_grid": (14, 14)}),
        ("vit_pe_spatial_tiny_patch16_512", {"rotary": "pe", "rotary_grid": (32, 32)}),
        ("vit_pe_lang_large_patch14_448", {"rotary": "pe", "layer_scale": True}),
        (
            "aimv2_large_patch14_224",
            {"rotary": "none", "norm": "rms", "patch_norm": True, "mlp_bias": False},
        ),
        ("vit_medium_patch16_rope_reg1_gap_256", {"rotary": "eva02", "rotary_grid": (16, 16)}),
    ],
)
def test_published_models_are_what_timm_says(name: str, expected: dict[str, Any]) -> None:
    config = recognise(shapes_in_timm(name)).config
    assert {key: getattr(config, key) for key in expected} == expected


def test_learned_frequencies_are_read_and_not_argued_about() -> None:
    tensors = shapes(rotary="mixed", position="none")
    found = recognise(tensors)
    assert known(found)["rotary"] == ("mixed", "read")
    assert (found.config.num_heads, found.facts["num_heads"].provenance) == (3, "read")
    with pytest.raises(UsageError, match="not those of a model with 'axial'"):
        recognise(tensors, rotary="axial")
    with pytest.raises(UsageError, match="not those of a model with 'mixed'"):
        recognise(shapes(rotary="axial", position="none"), num_heads=3, rotary="mixed")


def test_dinov3_without_registers_is_assumed_where_nothing_has_a_bias_of_keys() -> None:
    changes = {"rotary": "dinov3", "position": "none", "layer_scale": True}
    found = recognise(shapes(**changes, qkv_bias=False), num_heads=3)
    assert known(found)["rotary"] == ("dinov3", "assumed")
    found = recognise(shapes(**changes), num_heads=3)
    assert known(found)["rotary"] == ("axial", "assumed")  # which looks the same
    assert "DINOv3" in found.facts["rotary"].why
