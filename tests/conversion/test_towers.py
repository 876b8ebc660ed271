"""Image towers inside larger checkpoints: found, read alone, and put back."""

from __future__ import annotations

import json
import struct
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from schemes import SCHEMES, Scheme, images, run, transformers
from transformers_sources import SOURCES

from vit_convert.architectures import Overrides
from vit_convert.checkpoint import open_checkpoint
from vit_convert.conversion.convert import recognise
from vit_convert.conversion.files import keras2torch, torch2keras
from vit_convert.errors import MappingError
from vit_convert.hf_config.towers import of_vision
from vit_convert.parity.sources import source_model

# as llava-hf/llava-1.5-7b-hf has it
LLAVA = {
    "architectures": ["LlavaForConditionalGeneration"],
    "image_token_index": 32000,
    "model_type": "llava",
    "projector_hidden_act": "gelu",
    "text_config": {"model_type": "llama", "hidden_act": "silu", "rms_norm_eps": 1e-05},
    "vision_config": {
        "hidden_size": 1024,
        "image_size": 336,
        "intermediate_size": 4096,
        "model_type": "clip_vision_model",
        "num_attention_heads": 16,
        "num_hidden_layers": 24,
        "patch_size": 14,
        "projection_dim": 768,
        "vocab_size": 32000,
    },
    "vision_feature_layer": -2,
    "vision_feature_select_strategy": "default",
}


def scheme(name: str) -> Scheme:
    return next(s for s in SCHEMES if s.name == f"transformers {name}")


def llava_shapes() -> list[dict[str, tuple[int, ...]]]:
    """The tensors of LLaVA-1.5 7B, in three parts, under the names that its file has."""
    tower = "vision_tower.vision_model"
    vision: dict[str, tuple[int, ...]] = {
        f"{tower}.embeddings.class_embedding": (1024,),
        f"{tower}.embeddings.patch_embedding.weight": (1024, 3, 14, 14),
        f"{tower}.embeddings.position_embedding.weight": (577, 1024),
        "multi_modal_projector.linear_1.weight": (4096, 1024),
        "multi_modal_projector.linear_1.bias": (4096,),
        "multi_modal_projector.linear_2.weight": (4096, 4096),
        "multi_modal_projector.linear_2.bias": (4096,),
    }
    blocks = {f"self_attn.{part}_proj": (1024, 1024) for part in ("q", "k", "v")}
    blocks |= {"self_attn.out_proj": (1024, 1024)}
    blocks |= {"mlp.fc1": (4096, 1024), "mlp.fc2": (1024, 4096)}
    layers = [f"{tower}.encoder.layers.{i}" for i in range(24)]
    for layer in layers:
        for name, shape in blocks.items():
            vision |= {f"{layer}.{name}.weight": shape, f"{layer}.{name}.bias": shape[:1]}
    norms = [f"{layer}.layer_norm{j}" for layer in layers for j in (1, 2)]
    for norm in (*norms, f"{tower}.pre_layrnorm", f"{tower}.post_layernorm"):
        vision |= {f"{norm}.weight": (1024,), f"{norm}.bias": (1024,)}
    text: dict[str, tuple[int, ...]] = {
        "language_model.model.embed_tokens.weight": (32064, 4096),
        "language_model.model.norm.weight": (4096,),
        "language_model.lm_head.weight": (32064, 4096),
    }
    for i in range(32):
        layer = f"language_model.model.layers.{i}"
        text |= {f"{layer}.self_attn.{part}_proj.weight": (4096, 4096) for part in "qkvo"}
        text |= {f"{layer}.mlp.{part}_proj.weight": (11008, 4096) for part in ("gate", "up")}
        text |= {f"{layer}.mlp.down_proj.weight": (4096, 11008)}
        text |= {f"{layer}.input_layernorm.weight": (4096,)}
        text |= {f"{layer}.post_attention_layernorm.weight": (4096,)}
    names = sorted(text)
    return [vision, {n: text[n] for n in names[::2]}, {n: text[n] for n in names[1::2]}]


def write_sparse(path: Path, shapes: dict[str, tuple[int, ...]]) -> int:
    """A .safetensors file in float16 whose values are a hole; gives its size in bytes."""
    header, end = {}, 0
    for name, shape in shapes.items():
        start, end = end, end + 2 * int(np.prod(shape))
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)
    return end


def test_a_llava_of_seven_billion_parameters_is_recognised_at_once(tmp_path: Path) -> None:
    """14 GB in three parts, of which the headers alone are read."""
    parts = llava_shapes()
    weight_map, size = {}, 0
    for number, shapes in enumerate(parts, 1):
        file = f"model-{number:05}-of-00003.safetensors"
        size += write_sparse(tmp_path / file, shapes)
        weight_map |= dict.fromkeys(shapes, file)
    index = {"metadata": {"total_size": size}, "weight_map": weight_map}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    (tmp_path / "config.json").write_text(json.dumps(LLAVA))
    assert size > 14e9
    start = time.monotonic()
    found = recognise(open_checkpoint(tmp_path))
    assert time.monotonic() - start < 10
    config = found.spec.config
    assert (config.depth, config.num_heads, config.image_size) == (24, 16, (336, 336))
    assert (config.gelu, config.norm_eps, config.pool) == ("quick", 1e-5, "token")
    reasons = set(found.ledger.ignored.values())
    assert reasons == {
        "the language model's: an image model does not need it",
        "fits image tokens to the language model, which is left out",
    }
    assert len(found.ledger.ignored) == len(parts[1]) + len(parts[2]) + 4


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("LLaVA with CLIP, in memory", "model.vision_tower"),
        ("TrOCR with DeiT, in memory", "encoder"),
        ("InternVL with a norm, in memory", "model.vision_tower"),
    ],
)
def test_a_tower_goes_back_into_the_model_that_it_came_from(
    name: str, place: str, tmp_path: Path
) -> None:
    source, _ = scheme(name).save(tmp_path)
    torch2keras(source, tmp_path / "m.h5")
    keras2torch(tmp_path / "m.h5", tmp_path / "tower.safetensors")
    whole = torch.load(source, weights_only=True)
    tower = load_file(tmp_path / "tower.safetensors")
    assert set(tower) < set(whole)
    assert all(key.startswith(f"{place}.") for key in tower)
    left_out = {key for key in whole.keys() - tower.keys() if key.startswith(f"{place}.")}
    assert all(".pooler.dense." in key for key in left_out)


@pytest.mark.parametrize(
    "name",
    [
        "vision_tower.encoder.layers.0.lora_A.weight",  # of the tower
        "vision_tower.head.weight",
        "audio_tower.conv1.weight",  # beside it
        "head.weight",
    ],
)
def test_a_tensor_that_no_rule_names_is_an_error(name: str, tmp_path: Path) -> None:
    source, _ = scheme("LLaVA with CLIP").save(tmp_path)
    path = source / "model.safetensors"
    save_file(load_file(path) | {name: torch.zeros(2, 3)}, path, {"format": "pt"})
    with pytest.raises(MappingError, match=f"{name} *unexpected: no rule knows it"):
        recognise(open_checkpoint(source))


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (LLAVA, {"num_attention_heads": 16, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5}),
        # without the tower's type, it is the one that such a model has
        (
            {"model_type": "blip-2", "vision_config": {"hidden_size": 1408}},
            {"num_attention_heads": 16, "layer_norm_eps": 1e-6, "hidden_size": 1408},
        ),
        (
            {"model_type": "vision-encoder-decoder", "encoder": {"model_type": "deit"}},
            {"layer_norm_eps": 1e-12, "hidden_act": "gelu"},
        ),
        (
            {
                "model_type": "depth_anything",
                "patch_size": 7,  # the whole's, which means nothing
                "backbone_config": {"model_type": "dinov2", "layer_norm_eps": 1e-3},
            },
            {"layer_norm_eps": 1e-3, "num_attention_heads": 12, "patch_size": None},
        ),
    ],
)
def test_the_towers_part_of_config_json_is_read_with_its_own_defaults(
    config: dict[str, Any], expected: dict[str, Any]
) -> None:
    found = of_vision(config)
    assert {key: found.get(key) for key in expected} == expected


@pytest.mark.parametrize("name", [name for name, *_ in SOURCES])
def test_transformers_runs_it_without_config_json_too(name: str, tmp_path: Path) -> None:
    """Configured by what was given instead, as `verify --source` does."""
    source, model = scheme(name).save(tmp_path)
    expected = run(model, images())
    told = recognise(open_checkpoint(source)).spec.config
    (tmp_path / "config.json").unlink()
    given = Overrides(
        num_heads=told.num_heads,
        norm_eps=told.norm_eps,
        pool=told.pool,
        gelu=None if told.mlp == "swiglu" else told.gelu,
    )
    found = recognise(open_checkpoint(source), given)
    reference = source_model(found.spec, found.checkpoint, found.ledger)
    np.testing.assert_allclose(reference.run(images()), expected, rtol=0, atol=1e-5)


def test_paligemma_reads_the_tokens_that_the_tower_gives(tmp_path: Path) -> None:
    """As docs/dialects.md says: what its projector takes is the tower's normed patches."""
    source, _ = scheme("PaliGemma").save(tmp_path)
    model = transformers.PaliGemmaForConditionalGeneration.from_pretrained(source).eval().float()
    taken: list[torch.Tensor] = []
    model.model.multi_modal_projector.register_forward_pre_hook(
        lambda module, arguments: taken.append(arguments[0])
    )
    pictures = images()
    run(lambda x: model.model.get_image_features(x).last_hidden_state, pictures)
    found = recognise(open_checkpoint(source))
    reference = source_model(found.spec, found.checkpoint, found.ledger)
    mean = taken[0].mean(dim=1).numpy()
    np.testing.assert_allclose(reference.run(pictures), mean, rtol=0, atol=1e-5)
