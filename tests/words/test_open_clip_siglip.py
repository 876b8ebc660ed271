"""open_clip's SigLIP, whose image tower is timm's, becomes the same classifier as transformers'."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from words.towers import CONTEXT, IMAGE, TEXT, made, siglip2_tokenizer

import vit_convert
from vit_convert.conversion.h5_file import ReadTensors, open_keras
from vit_convert.errors import CheckpointError
from vit_convert.words.tokenizer import read_tokenizer

NAMES = (  # transformers' -> open_clip's CustomTextCLIP, whose `visual.trunk` is timm's
    (r"text_model\.embeddings\.token_embedding\.", "text.token_embedding."),
    (r"text_model\.embeddings\.position_embedding\.weight", "text.positional_embedding"),
    (r"text_model\.encoder\.layers\.", "text.transformer.resblocks."),
    (r"text_model\.final_layer_norm\.", "text.ln_final."),
    (r"text_model\.head\.", "text.text_projection."),
    (r"(resblocks\.\d+)\.self_attn\.out_proj", r"\1.attn.out_proj"),
    (r"(resblocks\.\d+)\.layer_norm([12])\.", r"\1.ln_\2."),
    (r"(resblocks\.\d+)\.mlp\.fc1\.", r"\1.mlp.c_fc."),
    (r"(resblocks\.\d+)\.mlp\.fc2\.", r"\1.mlp.c_proj."),
    (r"vision_model\.embeddings\.patch_embedding\.", "visual.trunk.patch_embed.proj."),
    (r"vision_model\.encoder\.layers\.", "visual.trunk.blocks."),
    (r"(blocks\.\d+)\.self_attn\.out_proj\.", r"\1.attn.proj."),
    (r"(blocks\.\d+)\.layer_norm([12])\.", r"\1.norm\2."),
    (r"vision_model\.post_layernorm\.", "visual.trunk.norm."),
    (r"vision_model\.head\.probe", "visual.trunk.attn_pool.latent"),
    (r"vision_model\.head\.attention\.out_proj\.", "visual.trunk.attn_pool.proj."),
    (r"vision_model\.head\.layernorm\.", "visual.trunk.attn_pool.norm."),
    (r"vision_model\.head\.mlp\.", "visual.trunk.attn_pool.mlp."),
)
CONFIG: dict[str, Any] = {  # as ViT-B-16-SigLIP2.json has it, with what these towers are instead
    "embed_dim": IMAGE["hidden_size"],
    "init_logit_bias": -10,
    "custom_text": True,
    "vision_cfg": {
        "image_size": IMAGE["image_size"],
        "timm_model_name": "vit_base_patch16_siglip_224",
        "timm_model_pretrained": False,
        "timm_pool": "map",
        "timm_proj": "none",
        "timm_model_kwargs": {
            "num_heads": IMAGE["num_attention_heads"],
            "act_layer": "gelu_tanh",
            "embed_dim": IMAGE["hidden_size"],
            "depth": IMAGE["num_hidden_layers"],
            "patch_size": IMAGE["patch_size"],
            "mlp_ratio": IMAGE["intermediate_size"] / IMAGE["hidden_size"],
        },
    },
    "text_cfg": {
        "context_length": CONTEXT,
        "width": TEXT["hidden_size"],
        "heads": TEXT["num_attention_heads"],
        "layers": TEXT["num_hidden_layers"],
        "no_causal_mask": True,
        "proj_bias": True,
        "pool_type": "last",
        "norm_kwargs": {"eps": 1e-6},
        "act_kwargs": {"approximate": "tanh"},
        "tokenizer_kwargs": {"clean": "canonicalize"},
    },
}


def renamed(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """transformers' SiglipModel under open_clip's names."""
    found = {}
    for name, tensor in state.items():
        other = name
        for pattern, replacement in NAMES:
            other = re.sub(pattern, replacement, other)
        if "k_proj" in name or "v_proj" in name or "position_ids" in name:
            continue
        if part := re.fullmatch(r"(.+)\.self_attn\.q_proj\.(weight|bias)", other):
            whole = torch.cat([state[name.replace("q_proj", f"{p}_proj")] for p in "qkv"])
            joined = "attn.qkv." if "trunk" in other else "attn.in_proj_"
            found[f"{part[1]}.{joined}{part[2]}"] = whole
        elif part := re.fullmatch(r"vision_model\.head\.attention\.in_proj_(\w+)", other):
            q, *kv = tensor.chunk(3)
            found[f"visual.trunk.attn_pool.q.{part[1]}"] = q
            found[f"visual.trunk.attn_pool.kv.{part[1]}"] = torch.cat(kv)
        elif other == "vision_model.embeddings.position_embedding.weight":
            found["visual.trunk.pos_embed"] = tensor[None]
        elif other in ("logit_scale", "logit_bias"):
            found[other] = tensor.reshape(())
        else:
            found[other] = tensor
    return {name: tensor.contiguous().clone() for name, tensor in found.items()}


def test_the_classifier_is_the_same(tmp_path: Path) -> None:
    model, _ = made("siglip", tmp_path / "hf")
    folder = tmp_path / "open_clip"
    folder.mkdir()
    save_file(renamed(model.state_dict()), folder / "open_clip_model.safetensors")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tmp_path / "hf" / name, folder)
    pictures = {"mean": [0.5] * 3, "std": [0.5] * 3, "resize_mode": "squash"}
    text = json.dumps({"model_cfg": CONFIG, "preprocess_cfg": pictures})
    (folder / "open_clip_config.json").write_text(text)
    found = []
    for source, name in ((tmp_path / "hf", "a.h5"), (folder, "b.h5")):
        vit_convert.zero_shot(source, ["bird", "Great dog!"], tmp_path / name)
        with open_keras(tmp_path / name) as (spec, weights):
            found.append((spec.config, dict(ReadTensors(weights))))
    (first, arrays), (second, others) = found
    assert first == second
    assert arrays.keys() == others.keys()
    assert all(np.array_equal(arrays[key], others[key]) for key in arrays)


@pytest.mark.parametrize(
    ("clean", "like"),
    [("canonicalize", "great bird"), ("lower", "great_bird!"), ("whitespace", "Great_Bird!")],
)
def test_texts_are_cleaned_as_it_says(clean: str, like: str, tmp_path: Path) -> None:
    siglip2_tokenizer().save_pretrained(tmp_path)

    def tokens(text: str) -> list[int]:
        found: list[int] = read_tokenizer(tmp_path, 40, 100, True)([text])[0].tolist()
        return found

    def say(clean: str) -> None:
        text = {"tokenizer_kwargs": {"clean": clean}}
        (tmp_path / "open_clip_config.json").write_text(
            json.dumps({"model_cfg": {"text_cfg": text}})
        )

    say("whitespace")  # which does nothing
    expected = tokens(like)
    say(clean)
    assert tokens("Great_Bird!") == expected
    say("upper")
    with pytest.raises(CheckpointError, match=r"clean is 'upper'"):
        tokens(like)
