"""From a checkpoint to a model: everything is checked before anything is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from families import FAMILIES, Family, small_beit, small_vit
from torch.nn import functional

from vit_convert.architectures import Overrides
from vit_convert.checkpoint import open_checkpoint
from vit_convert.conversion.assumptions import Assumptions
from vit_convert.conversion.convert import convert, recognise
from vit_convert.conversion.name_table import collapse_indices
from vit_convert.errors import MappingError, UsageError

STATED = Overrides(num_heads=4, image_size=(24, 50))


def saved(folder: Path, state: object) -> Path:
    path = folder / "model.pth"
    torch.save(state, path)
    return path


def changed(
    family: Family, folder: Path, change: Callable[[dict[str, torch.Tensor]], object]
) -> Path:
    state = dict(family.model.state_dict())
    change(state)
    return saved(folder, state)


@pytest.mark.parametrize("name", FAMILIES)
def test_weights_are_the_checkpoints_bit_for_bit(name: str, tmp_path: Path) -> None:
    family = FAMILIES[name]()
    path = saved(tmp_path, {"model": family.model.state_dict(), "epoch": 3})
    overrides = Overrides(num_heads=None if name == "cait" else 4, image_size=(24, 50))
    result = convert(open_checkpoint(path), overrides)
    assert result.spec.config == family.spec.config
    assert list(result.weights) == [p.name for p in family.spec.parameters()]
    for key, array in family.arrays().items():
        np.testing.assert_array_equal(result.weights[key].read(), array)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: s.pop("blocks.1.attn.proj.weight"), "blocks.1.attn.proj.weight  missing"),
        (lambda s: [s.pop(f"blocks.{i}.norm2.bias") for i in range(3)], "blocks.{0..2}.norm2.bias"),
        (lambda s: s.update({"extra.bias": torch.ones(3)}), "extra.bias  unexpected"),
        (
            lambda s: s.update({"blocks.0.ls2.gamma": torch.ones(36)}),
            "blocks.0.ls2.gamma  unexpected",
        ),
        (
            lambda s: s.update({"head.bias": torch.ones(8)}),
            "head.bias  has shape (8,), expected (7,)",
        ),
        (
            lambda s: s.update({"blocks.2.mlp.fc2.weight": torch.ones(63, 36)}),
            "has shape (63, 36), expected (36, 63)",
        ),
        (
            lambda s: s.update({"norm.weight": torch.ones(36, dtype=torch.int8)}),
            "norm.weight  is int8, expected floating point",
        ),
    ],
    ids=["missing", "missing, folded", "extra", "extra, known", "bias", "transposed", "integer"],
)
def test_what_does_not_fit_is_in_one_table(
    change: Callable[[dict[str, torch.Tensor]], object], says: str, tmp_path: Path
) -> None:
    with pytest.raises(MappingError) as error:
        convert(open_checkpoint(changed(small_vit(), tmp_path, change)), STATED)
    assert says in error.value.what
    assert error.value.where.endswith("model.pth")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_values_that_are_not_finite_are_counted(
    value: float, dtype: torch.dtype, tmp_path: Path
) -> None:
    def poison(state: dict[str, torch.Tensor]) -> None:
        for name in ("blocks.0.attn.qkv.weight", "blocks.2.attn.qkv.weight"):
            state[name] = state[name].clone().to(dtype)
            state[name][5, 7] = value

    with pytest.raises(MappingError, match="not finite") as error:
        convert(open_checkpoint(changed(small_vit(), tmp_path, poison)), STATED)
    assert "blocks.{0,2}.attn.qkv.weight  1 of 3888 values" in error.value.what


@pytest.mark.parametrize("method", ["antialias", "bicubic"])
@pytest.mark.parametrize("size", [(48, 80), (16, 100), (8, 20)])
def test_image_size_resamples_as_pytorch_does(
    method: str, size: tuple[int, int], tmp_path: Path
) -> None:
    family = small_vit(image_size=(32, 40))  # a grid of 4 x 4, told by its number
    path = saved(tmp_path, family.model.state_dict())
    result = convert(
        open_checkpoint(path), Overrides(num_heads=4, image_size=size), pos_embed=method
    )
    assert result.spec.config.image_size == size
    assert "pos_embed" in result.spec.source.changed
    got = result.weights["pos_embed"].read()
    source = family.model.state_dict()["pos_embed"].double()
    np.testing.assert_array_equal(got[:, :1], source[:, :1].numpy())
    grid = source[:, 1:].reshape(1, 4, 4, 36).permute(0, 3, 1, 2)
    expected = functional.interpolate(
        grid, (size[0] // 8, size[1] // 10), mode="bicubic", antialias=method == "antialias"
    )
    np.testing.assert_allclose(
        got[:, 1:], expected.permute(0, 2, 3, 1).reshape(1, -1, 36).numpy(), atol=1e-6
    )


def test_an_image_must_hold_a_patch(tmp_path: Path) -> None:
    path = saved(tmp_path, small_vit(image_size=(32, 40)).model.state_dict())
    with pytest.raises(UsageError, match="smaller than a patch"):
        convert(open_checkpoint(path), Overrides(num_heads=4, image_size=(33, 9)))


@pytest.mark.parametrize(("size", "resampled"), [((39, 49), False), ((50, 29), True)])
def test_an_image_size_need_be_no_multiple_of_the_patch(
    size: tuple[int, int], resampled: bool, tmp_path: Path
) -> None:
    """timm's model of that size, with its own way to resample, gives the same position embedding;
    where the number of whole patches stays, nothing is resampled."""
    family = small_vit(image_size=(32, 40))
    path = saved(tmp_path, family.model.state_dict())
    result = convert(open_checkpoint(path), Overrides(num_heads=4, image_size=size))
    assert result.spec.config.image_size == size
    assert result.spec.source.changed == (("pos_embed",) if resampled else ())
    family.model.set_input_size(size)
    expected = family.model.state_dict()["pos_embed"].numpy()
    np.testing.assert_allclose(result.weights["pos_embed"].read(), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("classes", [0, 5, 7])
def test_num_classes_starts_a_fresh_head(name: str, classes: int, tmp_path: Path) -> None:
    family = FAMILIES[name]()
    path = saved(tmp_path, family.model.state_dict())
    overrides = Overrides(
        num_heads=None if name == "cait" else 4, image_size=(24, 50), num_classes=classes
    )
    result = convert(open_checkpoint(path), overrides)
    assert result.spec.config.num_classes == classes
    heads = {n: t.read() for n, t in result.weights.items() if n.startswith("head")}
    assert set(heads) == set(result.spec.source.changed)
    for key, array in heads.items():
        assert array.shape[0] == classes
        if key.endswith("bias"):
            assert not array.any()
        else:
            assert 0.01 < array.std() < 0.03  # as timm draws it
    backbone = [n for n in family.arrays() if not n.startswith("head")]
    for key in backbone:
        np.testing.assert_array_equal(result.weights[key].read(), family.arrays()[key])


def test_recognising_reads_no_array(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import vit_convert.checkpoint.tensor as tensor

    path = saved(tmp_path, small_vit().model.state_dict())
    checkpoint = open_checkpoint(path)

    def fail() -> np.ndarray:
        raise AssertionError("an array was read")

    lazy = {n: tensor.LazyTensor(n, t.shape, t.dtype, fail) for n, t in checkpoint.tensors.items()}
    monkeypatch.setitem(checkpoint.__dict__, "tensors", lazy)
    assert recognise(checkpoint, STATED).spec.config == small_vit().spec.config


def test_assumptions_are_listed(tmp_path: Path) -> None:
    path = saved(tmp_path, small_vit().model.state_dict())
    found = recognise(open_checkpoint(path), STATED).recognition
    assert set(Assumptions.of(found).all) == {
        "pool", "gelu", "norm_position", "norm_eps", "mean", "std", "interpolation", "crop_pct",
        "crop_mode", "rotary",
    }  # fmt: skip


def test_names_fold() -> None:
    rows = [("blocks.0.a", "x"), ("blocks.1.a", "x"), ("blocks.3.a", "x"), ("blocks.4.a", "y")]
    rows += [("cls_token", "z"), ("blocks.10.b.c", "x")]
    assert collapse_indices(rows) == [
        ("blocks.{0..1,3}.a", "x"),
        ("blocks.4.a", "y"),
        ("cls_token", "z"),
        ("blocks.10.b.c", "x"),
    ]


def test_a_relative_position_bias_is_not_resampled(tmp_path: Path) -> None:
    path = saved(tmp_path, small_beit(image_size=(24, 30)).model.state_dict())
    source = open_checkpoint(path)
    assert convert(source, Overrides()).spec.config.rel_pos == "blocks"
    with pytest.raises(UsageError, match="relative_position_bias_table cannot be") as error:
        convert(source, Overrides(image_size=(32, 40)))
    assert "24x30" in error.value.expected
