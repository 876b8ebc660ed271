"""The reference is timm's own model with the source's own tensors, whatever the source is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from families import Family, channels_first, small_cait, small_deit, small_vit

from vit_convert.architectures import ModelSpec
from vit_convert.checkpoint.tensor import LazyTensor
from vit_convert.errors import MissingDependencyError, UsageError
from vit_convert.parity.sources import torch_compat
from vit_convert.parity.sources.timm_source import TorchReference, block_outputs

Build = Callable[..., Family]

KINDS: dict[str, tuple[Build, dict[str, Any]]] = {
    "vit": (small_vit, {}),
    "tanh": (small_vit, {"gelu": "tanh"}),
    "quick": (small_vit, {"gelu": "quick"}),
    "epsilon": (small_vit, {"norm_eps": 0.1}),
    "heads": (small_vit, {"num_heads": 6}),
    "no qkv bias": (small_vit, {"qkv_bias": False}),
    "LayerScale": (small_vit, {"layer_scale": True}),
    "average pooling": (small_vit, {"pool": "avg", "final_norm": False, "fc_norm": True}),
    "average pooling of normed tokens": (small_vit, {"pool": "avg"}),
    "no class token": (small_vit, {"class_token": False, "pool": "avg"}),
    "no final norm": (small_vit, {"final_norm": False}),
    "no head": (small_vit, {"num_classes": 0}),
    "one channel": (small_vit, {"in_channels": 1}),
    "deit": (small_deit, {}),
    "deit without head": (small_deit, {"num_classes": 0}),
    "cait": (small_cait, {}),
    "cait with three class-attention blocks": (small_cait, {"depth_token_only": 3}),
    "cait, tanh, no qkv bias": (small_cait, {"gelu": "tanh", "qkv_bias": False}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_it_gives_bit_for_bit_what_the_source_model_gives(kind: str) -> None:
    build, changes = KINDS[kind]
    family = build(**changes)
    images = family.images(3)
    reference = TorchReference(family.spec, family.tensors())
    np.testing.assert_array_equal(reference.run(images), family.logits(images))


@pytest.mark.parametrize("build", [small_vit, small_deit, small_cait])
def test_logits_do_not_depend_on_how_many_images_are_run(build: Build) -> None:
    family = build()
    images = family.images(19)  # more than a batch
    logits = TorchReference(family.spec, family.tensors()).run(images)
    assert logits.shape == (19, 7)
    np.testing.assert_allclose(logits, family.logits(images), rtol=0, atol=1e-5)


@pytest.mark.parametrize("build", [small_vit, small_deit, small_cait])
def test_features_are_what_the_source_gives_before_its_head(build: Build) -> None:
    family = build()
    images = family.images(2)
    features = TorchReference(family.spec, family.tensors(), features=True).run(images)
    with torch.inference_mode():
        tokens = family.model.forward_features(channels_first(images))
        expected = family.model.forward_head(tokens, pre_logits=True).numpy()
    np.testing.assert_array_equal(features, expected)


def test_float16_tensors_are_run_in_float32() -> None:
    family = small_vit()
    halves = {k: LazyTensor.of(k, v.astype(np.float16)) for k, v in family.arrays().items()}
    reference = TorchReference(family.spec, halves)
    assert {v.dtype for v in reference.model.state_dict().values()} == {torch.float32}
    family.model.load_state_dict(
        {k: v.half().float() for k, v in family.model.state_dict().items()}
    )
    np.testing.assert_array_equal(reference.run(family.images()), family.logits(family.images()))


def test_embeddings_and_blocks_are_what_the_modules_of_a_vit_give() -> None:
    family = small_deit()
    images = family.images(2)
    blocks = TorchReference(family.spec, family.tensors()).blocks(images)
    assert list(blocks) == ["embeddings", "blocks.0", "blocks.1", "blocks.2"]
    assert {block.shape for block in blocks.values()} == {(2, 2 + 15, 36)}
    with torch.inference_mode():
        x = family.model.patch_embed(channels_first(images))
        x = family.model._pos_embed(x)
        np.testing.assert_array_equal(blocks["embeddings"], x.numpy())
        for i, block in enumerate(family.model.blocks):
            x = block(x)
            np.testing.assert_array_equal(blocks[f"blocks.{i}"], x.numpy())


def test_class_attention_blocks_of_a_cait_give_the_class_token_alone() -> None:
    family = small_cait()
    images = family.images(2)
    blocks = block_outputs(family.model, family.spec.block_names(), images)
    assert list(blocks) == [
        "embeddings",
        *(f"blocks.{i}" for i in range(3)),
        *(f"blocks_token_only.{i}" for i in range(2)),
    ]
    assert blocks["blocks.2"].shape == (2, 15, 36)
    with torch.inference_mode():
        patches = torch.from_numpy(blocks["blocks.2"])
        cls = family.model.cls_token.expand(2, -1, -1)
        for i, block in enumerate(family.model.blocks_token_only):
            cls = block(patches, cls)
            np.testing.assert_array_equal(blocks[f"blocks_token_only.{i}"], cls.numpy())


def test_watching_blocks_leaves_no_hooks_behind() -> None:
    family = small_vit()
    block_outputs(family.model, family.spec.block_names(), family.images(1))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in family.model.modules())


def resized(spec: ModelSpec, size: tuple[int, int], method: Any) -> ModelSpec:
    changed = replace(spec, pos_embed=method).with_config(image_size=size)
    return replace(changed, source=replace(spec.source, changed=("pos_embed",)))


@pytest.mark.parametrize("size", [(24, 56), (48, 24), (40, 40), (16, 64)], ids=str)
@pytest.mark.parametrize("build", [small_vit, small_deit, small_cait])
def test_positions_are_resampled_as_timm_does(build: Build, size: tuple[int, int]) -> None:
    """(16, 64) has as many patches as the 4 x 4 that there were."""
    family = build(image_size=(32, 32), patch_size=(8, 8))
    spec = resized(family.spec, size, "antialias")
    reference = TorchReference(spec, family.tensors())
    assert "resampled by PyTorch (antialias)" in reference.description
    from timm.layers import resample_abs_pos_embed

    prefix = family.model.pos_embed.shape[1] - 16
    expected = resample_abs_pos_embed(
        family.model.pos_embed, [size[0] // 8, size[1] // 8], [4, 4], num_prefix_tokens=prefix
    )
    assert torch.equal(reference.model.pos_embed, expected)
    images = np.zeros((1, *size, 3), np.float32)
    assert reference.run(images).shape == (1, 7)


def test_bicubic_resampling_is_the_plain_interpolation_of_pytorch() -> None:
    family = small_vit(image_size=(32, 32), patch_size=(8, 8))
    reference = TorchReference(resized(family.spec, (24, 56), "bicubic"), family.tensors())
    old, new = family.model.pos_embed, reference.model.pos_embed
    assert torch.equal(new[:, :1], old[:, :1])
    grid = old[:, 1:].reshape(1, 4, 4, 36).permute(0, 3, 1, 2)
    expected = torch.nn.functional.interpolate(grid, (3, 7), mode="bicubic", align_corners=False)
    assert torch.equal(new[:, 1:].reshape(1, 3, 7, 36), expected.permute(0, 2, 3, 1))
    assert "resampled by PyTorch (bicubic)" in reference.description


def test_positions_that_fit_are_left_alone() -> None:
    family = small_vit()
    assert "resampled" not in TorchReference(family.spec, family.tensors()).description


def test_positions_of_no_square_grid_that_do_not_fit_are_refused() -> None:
    family = small_vit()  # 3 x 5
    with pytest.raises(UsageError, match="15 patches, no square number"):
        TorchReference(family.spec.with_config(image_size=(48, 50)), family.tensors())


def with_fresh_head(spec: ModelSpec) -> ModelSpec:
    source = replace(spec.source, changed=("head.weight", "head.bias"))
    return replace(spec.with_config(num_classes=5), source=source)


def test_a_replaced_head_has_no_logits_to_compare_with() -> None:
    family = small_vit()
    with pytest.raises(UsageError, match="the head was replaced") as raised:
        TorchReference(with_fresh_head(family.spec), family.tensors())
    assert "--output features" in raised.value.hint


def test_before_a_replaced_head_features_are_compared() -> None:
    family = small_vit()
    reference = TorchReference(with_fresh_head(family.spec), family.tensors(), features=True)
    assert reference.run(family.images(2)).shape == (2, 36)


def test_the_tensors_of_another_model_are_refused() -> None:
    with pytest.raises(UsageError, match=r"not those of the converted model") as raised:
        TorchReference(small_vit().spec, small_vit(embed_dim=40).tensors())
    row = "blocks.{0..2}.attn.qkv.weight   has shape (120, 40), expected (108, 36)"
    assert row in raised.value.what


@pytest.mark.parametrize("change", ["missing", "extra"])
def test_tensors_that_are_missing_or_too_many_are_refused(change: str) -> None:
    family = small_vit()
    tensors = family.tensors()
    if change == "missing":
        del tensors["blocks.1.mlp.fc2.bias"]
    else:
        tensors["blocks.1.attn.q_norm.weight"] = tensors["norm.weight"]
    with pytest.raises(UsageError, match="not those of the converted model"):
        TorchReference(family.spec, tensors)


def test_a_model_that_timm_has_not_is_refused() -> None:
    family = small_vit()
    with pytest.raises(UsageError, match="timm has no such model"):
        TorchReference(family.spec.with_config(fc_norm=True), family.tensors())


def test_the_versions_of_both_libraries_are_named() -> None:
    import timm

    description = TorchReference(small_vit().spec, small_vit().tensors()).description
    assert description == f"timm {timm.__version__} on PyTorch {torch.__version__}, float32"


def test_without_timm_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(torch_compat, "import_vision", missing)
    with pytest.raises(MissingDependencyError, match="No module named 'timm'") as raised:
        TorchReference(small_vit().spec, small_vit().tensors())
    assert 'pip install "vit-convert[torch]"' in raised.value.hint
