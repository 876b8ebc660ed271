"""EVA-02 and DINOv3: other image sizes, from one library to another, and what must not be lost."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from families import randomise
from safetensors.torch import load_file
from schemes import DEPTH, HEADS, HIDDEN, PATCH, SCHEMES, SIZE, WIDE, Scheme, transformers
from timm.models.eva import Eva
from torch import nn

from vit_convert.architectures import Overrides
from vit_convert.checkpoint import open_checkpoint
from vit_convert.checkpoint.tensor import LazyTensor
from vit_convert.conversion.assumptions import Assumptions
from vit_convert.conversion.convert import recognise
from vit_convert.conversion.files import keras2torch, torch2keras
from vit_convert.dialects import read_as_canonical
from vit_convert.dialects.dinov3 import _periods
from vit_convert.errors import CheckpointError, MappingError, VitConvertError
from vit_convert.exporters.keras_h5 import load_model
from vit_convert.parity.sources import source_model

LARGER = (24, 32)  # 6 x 8 patches


def scheme(name: str) -> Scheme:
    logging.getLogger("transformers").setLevel(logging.ERROR)
    return next(s for s in SCHEMES if s.name == name)


def pictures(size: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(3).standard_normal((2, *size, 3), np.float32)


def run(model: Callable[[torch.Tensor], torch.Tensor], images: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return model(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).numpy()


def relative(got: np.ndarray, expected: np.ndarray) -> float:
    assert got.shape == expected.shape
    return float(np.abs(got - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize("name", ["timm EVA-02", "transformers DINOv3ViTModel", "timm DINOv3"])
def test_another_image_size_is_as_the_authors_have_it(name: str, tmp_path: Path) -> None:
    """EVA-02 counts in patches of its first grid, DINOv3 from edge to edge."""
    found = scheme(name)
    source, model = found.save(tmp_path)
    overrides = replace(found.overrides, image_size=LARGER)
    result = torch2keras(source, tmp_path / "m.h5", overrides=overrides)
    assert result.spec.config.grid == (6, 8)
    if isinstance(model, Eva):
        model.set_input_size(LARGER)
    images = pictures(LARGER)
    expected = run(model, images)
    assert relative(load_model(tmp_path / "m.h5")(images).numpy(), expected) < 1e-5
    reference = source_model(result.spec, result.checkpoint, result.ledger)
    assert relative(reference.run(images), expected) < 1e-6


def eva(**options: Any) -> Eva:
    """timm's model for the schemes' DINOv3."""
    return Eva(
        img_size=SIZE,
        patch_size=PATCH,
        num_classes=0,
        embed_dim=WIDE,
        depth=DEPTH,
        num_heads=HEADS,
        mlp_ratio=(HIDDEN + 0.5) / WIDE,
        num_reg_tokens=2,
        init_values=0.1,
        use_abs_pos_emb=False,
        use_rot_pos_emb=True,
        rope_type="dinov3",
        rope_rotate_half=True,
        rope_temperature=30.0,
        use_fc_norm=False,
        global_pool="token",
        norm_layer=partial(nn.LayerNorm, eps=1e-5),
        **options,
    )


def test_timm_loads_what_transformers_saved(tmp_path: Path) -> None:
    source, model = scheme("transformers DINOv3ViTModel, SwiGLU").save(tmp_path)
    torch2keras(source, tmp_path / "m.h5")
    keras2torch(tmp_path / "m.h5", tmp_path / "timm.safetensors", dialect_name="timm-beit")
    theirs = eva(swiglu_mlp=True, swiglu_align_to=1)
    theirs.load_state_dict(load_file(tmp_path / "timm.safetensors"), strict=True)
    images = pictures((SIZE, SIZE))
    assert relative(run(theirs.eval(), images), run(model, images)) < 1e-5


def test_transformers_loads_what_meta_saved(tmp_path: Path) -> None:
    found = scheme("facebookresearch DINOv3")
    source, model = found.save(tmp_path)
    result = torch2keras(source, tmp_path / "m.h5", overrides=found.overrides)
    known = {n: (f.value, f.provenance) for n, f in result.recognition.facts.items()}
    assert known["num_heads"] == (HEADS, "read")
    assert known["rotary_base"] == (30.0, "read")
    assert "rotary" not in Assumptions.of(result.recognition).all
    written = tmp_path / "hf.safetensors"
    keras2torch(tmp_path / "m.h5", written, dialect_name="transformers-dinov3")
    config = transformers.DINOv3ViTConfig(
        hidden_size=WIDE,
        num_hidden_layers=DEPTH,
        num_attention_heads=HEADS,
        intermediate_size=HIDDEN,
        image_size=SIZE,
        patch_size=PATCH,
        num_register_tokens=2,
        rope_theta=30.0,
    )
    state = load_file(written)
    theirs, info = transformers.DINOv3ViTModel.from_pretrained(
        None, config=config, state_dict=state, output_loading_info=True
    )
    assert set(info["missing_keys"]) == {"embeddings.mask_token"}
    assert not info["unexpected_keys"]
    images = pictures((SIZE, SIZE))
    got = run(lambda x: theirs.eval()(x).last_hidden_state[:, 0], images)
    assert relative(got, run(model, images)) < 1e-5


def test_a_bias_of_keys_is_not_dropped_where_rotary_embedding_lets_it_count(tmp_path: Path) -> None:
    """timm's AttentionRope has one; files of BEiT's kind and of DINOv3's cannot hold it."""
    model = randomise(eva(attn_type="rope"))
    torch.save(model.state_dict(), tmp_path / "model.pth")
    stated = Overrides(num_heads=HEADS, rotary_base=30.0, image_size=(SIZE, SIZE), norm_eps=1e-5)
    torch2keras(tmp_path / "model.pth", tmp_path / "m.h5", overrides=stated)
    images = pictures((SIZE, SIZE))
    assert relative(load_model(tmp_path / "m.h5")(images).numpy(), run(model, images)) < 1e-5
    for dialect in ("timm-beit", "timm-eva", "transformers-dinov3", "dinov3"):
        with pytest.raises(MappingError, match="bias of keys"):
            keras2torch(tmp_path / "m.h5", tmp_path / "x.pth", dialect_name=dialect)
    assert not (tmp_path / "x.pth").exists()


@pytest.mark.parametrize("dialect", ["transformers-dinov2", "torchvision", "bubbliiiing", "dinov3"])
def test_schemes_without_that_rotary_embedding_refuse_the_model(
    dialect: str, tmp_path: Path
) -> None:
    found = scheme("timm EVA-02")
    source, _ = found.save(tmp_path)
    torch2keras(source, tmp_path / "m.h5", overrides=found.overrides)
    with pytest.raises(MappingError, match="has other rotary position embedding"):
        keras2torch(tmp_path / "m.h5", tmp_path / "x.pth", dialect_name=dialect)


def periods(values: np.ndarray) -> dict[str, Any]:
    tensors = {
        "storage_tokens": LazyTensor.of("storage_tokens", np.zeros((1, 2, 24), np.float32)),
        "rope_embed.periods": LazyTensor.of("rope_embed.periods", values),
    }
    ledger = read_as_canonical(tensors, "the model")
    return {n: f.value for n, f in ledger.facts.items()} | ledger.problems


def test_periods_tell_their_base_also_when_stored_in_bfloat16() -> None:
    exponents = torch.arange(16) / 16
    for base in (100.0, 1234.0):
        exact = (base**exponents).numpy()
        assert periods(exact) == {"head_dim": 64, "rotary_base": base}
    rounded = (100.0**exponents).bfloat16().float().numpy()
    assert np.abs(rounded / (100.0**exponents).numpy() - 1).max() > 1e-3
    assert periods(rounded)["rotary_base"] == 100.0
    whys = [
        _periods(LazyTensor.of("periods", values))["rotary_base"].why
        for values in ((100.0**exponents).numpy(), rounded)
    ]
    assert whys == ["from periods", "from periods, which is rounded"]


def test_periods_between_two_ends_are_no_powers_of_a_base() -> None:
    found = periods(np.geomspace(0.5, 90, 16).astype(np.float32))
    assert "no powers of a base" in found["rope_embed.periods"]


def test_a_mask_takes_the_bias_of_keys_away(tmp_path: Path) -> None:
    found = scheme("facebookresearch DINOv3")
    source, model = found.save(tmp_path)
    state = torch.load(source)
    for i in range(DEPTH):
        state[f"blocks.{i}.attn.qkv.bias"][WIDE : 2 * WIDE] = 3.0
    torch.save(state, source)
    torch2keras(source, tmp_path / "m.h5", overrides=found.overrides)
    images = pictures((SIZE, SIZE))
    assert relative(load_model(tmp_path / "m.h5")(images).numpy(), run(model, images)) < 1e-5


def test_config_json_tells_the_base(tmp_path: Path) -> None:
    source, _ = scheme("transformers DINOv3ViTModel").save(tmp_path)
    found = recognise(open_checkpoint(source)).recognition
    assert (found.config.rotary_base, found.facts["rotary_base"].provenance) == (30.0, "read")
    assert not {"rotary", "rotary_base", "image_size", "pool"} & set(Assumptions.of(found).all)
    (tmp_path / "config.json").unlink()
    alone = recognise(open_checkpoint(source), Overrides(num_heads=HEADS)).recognition
    assert {"rotary_base", "image_size", "norm_eps"} <= set(Assumptions.of(alone).all)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"rope_theta": 0.5}, "rope_theta is '0.5'"),
        ({"rope_theta": "100"}, "rope_theta"),
        ({"rope_theta": float("nan")}, "rope_theta is 'nan'"),
        ({"use_gated_mlp": True}, "hidden_act is 'gelu'"),
        ({"use_gated_mlp": 1}, "use_gated_mlp is '1'"),
        ({"hidden_act": "mish"}, "hidden_act is 'mish'"),
    ],
    ids=str,
)
def test_impossible_values_of_config_json_are_refused(
    changes: dict[str, Any], says: str, tmp_path: Path
) -> None:
    source, _ = scheme("transformers DINOv3ViTModel").save(tmp_path)
    config = tmp_path / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | changes))
    with pytest.raises(CheckpointError) as error:
        recognise(open_checkpoint(source))
    assert says in error.value.what


def test_a_bias_of_keys_in_transformers_is_refused(tmp_path: Path) -> None:
    config = transformers.DINOv3ViTConfig(
        hidden_size=WIDE,
        num_hidden_layers=1,
        num_attention_heads=HEADS,
        key_bias=True,
        num_register_tokens=2,
    )
    transformers.DINOv3ViTModel(config).save_pretrained(tmp_path)
    with pytest.raises(VitConvertError, match="key_bias"):
        torch2keras(tmp_path, tmp_path / "m.h5")
    assert not (tmp_path / "m.h5").exists()
