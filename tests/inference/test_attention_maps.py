"""What a model looks at: the maps of artifacts against timm's attention, the rollout against
PyTorch, and the picture."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from families import FAMILIES, SPECIAL, Family, small_cait, small_deit, small_vit
from PIL import Image

from vit_convert.conversion.h5_file import write_h5
from vit_convert.errors import ArtifactError, UsageError
from vit_convert.exporters import Artifact, ExportOptions, export, open_artifact
from vit_convert.inference.attention import attention_of, look, rollout
from vit_convert.reporting.attention import attention

MODELS = FAMILIES | {"average pool": SPECIAL["average pool"]}
GRID = (3, 5)
Open = Callable[[str, str], Artifact]


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Open:
    """(model, kind of artifact) -> artifact with attention maps"""

    @cache
    def make(name: str, kind: str) -> Artifact:
        family = MODELS[name]()
        path = tmp_path_factory.mktemp("models") / "model.h5"
        write_h5(path, family.spec, family.tensors())
        if kind == "keras":
            return open_artifact(path)
        return open_artifact(export(path, [kind], path.parent, ExportOptions(attention=True))[0])

    return make


def timm_attention(family: Family, images: np.ndarray) -> dict[str, torch.Tensor]:
    """What goes into the dropout of attention weights, block by block."""
    found = {}
    for name, module in family.model.named_modules():
        if name.endswith(".attn"):
            module.fused_attn = False
            group, index, _ = name.split(".")
            kind = "attention" if group == "blocks" else "class_attention"
            module.attn_drop.register_forward_hook(
                lambda m, inputs, output, key=f"{kind}.{index}": found.update({key: inputs[0]})
            )
    family.logits(images)
    return found


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *product(FAMILIES, ["keras", "tflite"]),
        ("cait", "saved_model"),
    ],
)
def test_maps_are_timms(name: str, kind: str, opened: Open) -> None:
    family = MODELS[name]()
    images = family.images(2)
    expected = timm_attention(family, images)
    got = attention_of(opened(name, kind), images)
    assert got.keys() == expected.keys()
    for key, weights in expected.items():
        np.testing.assert_allclose(got[key], weights.numpy(), atol=1e-5, err_msg=key)


def test_a_vit_looks_with_its_class_token() -> None:
    family = small_vit()
    images = family.images(1)
    maps = {k: v.numpy() for k, v in timm_attention(family, images).items()}
    view = look(family.spec, maps)
    assert [layer.name for layer in view.layers] == ["block 2"]
    expected = maps["attention.2"][0, :, 0, 1:].reshape(4, *GRID)
    np.testing.assert_array_equal(view.layers[0].heads, expected)
    np.testing.assert_allclose(view.saliency, expected.mean(axis=0), rtol=1e-6)
    earlier = look(family.spec, maps, block=1, head=3)
    np.testing.assert_array_equal(earlier.saliency, maps["attention.1"][0, 3, 0, 1:].reshape(GRID))
    assert earlier.saliency_of == "block 1, head 3"


def test_of_a_deit_the_distillation_token_is_no_patch() -> None:
    family = small_deit()
    maps = {k: v.numpy() for k, v in timm_attention(family, family.images(1)).items()}
    view = look(family.spec, maps)
    expected = maps["attention.2"][0, :, 0, 2:].reshape(4, *GRID)
    np.testing.assert_array_equal(view.layers[0].heads, expected)


def test_a_cait_shows_its_class_attention() -> None:
    """Both blocks; the saliency is the first one's, as in figure 7 of the paper."""
    family = small_cait(depth=2)
    maps = {k: v.numpy() for k, v in timm_attention(family, family.images(1)).items()}
    view = look(family.spec, maps)
    assert [layer.name for layer in view.layers] == [
        "class-attention block 0",
        "class-attention block 1",
    ]
    for i, layer in enumerate(view.layers):
        expected = maps[f"class_attention.{i}"][0, :, 0, 1:].reshape(4, *GRID)
        np.testing.assert_array_equal(layer.heads, expected)
    np.testing.assert_allclose(view.saliency, view.layers[0].heads.mean(axis=0))
    last = look(family.spec, maps, block=-1)
    assert [layer.name for layer in last.layers] == ["class-attention block 1"]


def test_without_a_class_token_all_patches_ask() -> None:
    family = MODELS["average pool"]()
    maps = {k: v.numpy() for k, v in timm_attention(family, family.images(1)).items()}
    view = look(family.spec, maps)
    assert view.query == "mean over patches"
    expected = maps["attention.1"][0].mean(axis=1).reshape(4, *GRID)
    np.testing.assert_allclose(view.layers[0].heads, expected, rtol=1e-6)


def test_rollout_is_the_product_of_the_paper() -> None:
    """Abnar and Zuidema 2020, equations 1 and 2 of section 3, written in PyTorch."""
    family = small_deit()
    attention = timm_attention(family, family.images(1))
    rolled = None
    for i in range(3):
        mean = attention[f"attention.{i}"][0].double().mean(dim=0)
        raw = 0.5 * mean + 0.5 * torch.eye(17, dtype=torch.double)
        raw = raw / raw.sum(dim=-1, keepdim=True)
        rolled = raw if rolled is None else raw @ rolled
    assert rolled is not None
    maps = {k: v.numpy() for k, v in attention.items()}
    got = rollout([m[0] for m in maps.values()])
    np.testing.assert_allclose(got, rolled.numpy(), atol=1e-6)
    np.testing.assert_allclose(got.sum(axis=-1), 1, atol=1e-6)
    view = look(family.spec, maps, roll_out=True)
    np.testing.assert_allclose(view.saliency, rolled[0, 2:].reshape(GRID).numpy(), atol=1e-6)


def test_what_a_model_does_not_have_is_refused() -> None:
    family = small_cait(depth=2)
    maps = {k: v.numpy() for k, v in timm_attention(family, family.images(1)).items()}
    with pytest.raises(UsageError, match="has 2"):
        look(family.spec, maps, block=2)
    with pytest.raises(UsageError, match="has 4"):
        look(family.spec, maps, head=4)
    with pytest.raises(UsageError, match="no distributions"):
        look(family.spec, maps, roll_out=True)


def test_an_artifact_without_maps_says_how_to_get_them(tmp_path: Path) -> None:
    family = small_vit(depth=1)
    write_h5(tmp_path / "vit.h5", family.spec, family.tensors())
    (path,) = export(tmp_path / "vit.h5", ["tflite"], tmp_path)
    with pytest.raises(ArtifactError) as error:
        attention_of(open_artifact(path), family.images(1))
    assert "export MODEL.h5 --attention" in error.value.hint


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("pictures")
    paths = [folder / "a$b$.png", folder / "b.png"]
    for path in paths:
        Image.fromarray(rng.integers(0, 256, (30, 70, 3), np.uint8)).save(path)
    return paths


@pytest.mark.parametrize("name", MODELS)
def test_the_picture_shows_what_the_model_sees(
    name: str, opened: Open, pictures: list[Path]
) -> None:
    artifact = opened(name, "tflite")
    first, second = (seen.png() for seen in attention(artifact, pictures))
    image = Image.open(io.BytesIO(first))
    image.load()
    assert image.format == "PNG"
    assert 1000 < image.width < 3000
    assert 300 < image.height < 1500
    other = Image.open(io.BytesIO(second))
    assert other.size == image.size
    # not in the heading alone: the picture, the saliency and the maps
    body = np.asarray(image).astype(int)[100:]
    changed = (body != np.asarray(other)[100:]).any(axis=(1, 2) if body.ndim == 3 else 1)
    assert changed.mean() > 0.5


def test_one_head_makes_a_smaller_picture(opened: Open, pictures: list[Path]) -> None:
    artifact = opened("cait", "tflite")
    everything, alone = (
        Image.open(io.BytesIO(attention(artifact, pictures[0], **options)[0].png()))
        for options in ({}, {"head": 2, "block": 0})
    )
    assert alone.width < everything.width
    assert alone.height <= everything.height
