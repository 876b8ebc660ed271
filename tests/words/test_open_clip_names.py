"""CLIP under OpenAI's and open_clip's names becomes the same classifier as under transformers'."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from words.towers import CONTEXT, IMAGE, TEXT, made

import vit_convert
from vit_convert.conversion.h5_file import open_keras

NAMES = (
    (r"vision_model\.embeddings\.class_embedding", "visual.class_embedding"),
    (r"vision_model\.embeddings\.patch_embedding\.", "visual.conv1."),
    (r"vision_model\.embeddings\.position_embedding\.weight", "visual.positional_embedding"),
    (r"vision_model\.pre_layrnorm\.", "visual.ln_pre."),
    (r"vision_model\.post_layernorm\.", "visual.ln_post."),
    (r"vision_model\.encoder\.layers\.", "visual.transformer.resblocks."),
    (r"text_model\.embeddings\.token_embedding\.", "token_embedding."),
    (r"text_model\.embeddings\.position_embedding\.weight", "positional_embedding"),
    (r"text_model\.final_layer_norm\.", "ln_final."),
    (r"text_model\.encoder\.layers\.", "transformer.resblocks."),
    (r"\.self_attn\.out_proj", ".attn.out_proj"),
    (r"\.layer_norm([12])\.", r".ln_\1."),
    (r"\.mlp\.fc1\.", ".mlp.c_fc."),
    (r"\.mlp\.fc2\.", ".mlp.c_proj."),
)


def test_the_classifier_is_the_same(tmp_path: Path) -> None:
    model, _ = made("clip", tmp_path / "hf")
    state: dict[str, torch.Tensor] = {}
    for name, tensor in model.state_dict().items():
        other = name
        for pattern, replacement in NAMES:
            other = re.sub(pattern, replacement, other)
        if part := re.fullmatch(r"(.+)\.self_attn\.q_proj\.(weight|bias)", other):
            whole = [model.state_dict()[name.replace("q_proj", f"{p}_proj")] for p in "qkv"]
            state[f"{part[1]}.attn.in_proj_{part[2]}"] = torch.cat(whole)
        elif "k_proj" not in other and "v_proj" not in other and "position_ids" not in other:
            state[other] = tensor.contiguous()
    state["visual.proj"] = state.pop("visual_projection.weight").T.contiguous()
    state["text_projection"] = state.pop("text_projection.weight").T.contiguous()
    folder = tmp_path / "open_clip"
    folder.mkdir()
    save_file(state, folder / "open_clip_model.safetensors")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tmp_path / "hf" / name, folder)
    widths = {"width": IMAGE["hidden_size"], "layers": 2, "head_width": 8, "mlp_ratio": 33 / 24}
    config = {
        "embed_dim": 15,
        "quick_gelu": True,
        "vision_cfg": {**widths, "patch_size": 4, "image_size": 16},
        "text_cfg": {
            "context_length": CONTEXT,
            "width": TEXT["hidden_size"],
            "heads": TEXT["num_attention_heads"],
            "layers": 3,
        },
    }
    text = json.dumps({"model_cfg": config, "preprocess_cfg": {}})
    (folder / "open_clip_config.json").write_text(text)
    found = []
    for source, name in (
        (tmp_path / "hf", "a.h5"),
        (folder / "open_clip_model.safetensors", "b.h5"),
    ):
        vit_convert.zero_shot(source, ["bird", "dog"], tmp_path / name)
        with open_keras(tmp_path / name) as (spec, weights):
            found.append((spec.config, {key: weights[key].read() for key in weights}))
    (first, arrays), (second, others) = found
    assert first == second
    assert arrays.keys() == others.keys()
    assert all(np.array_equal(arrays[key], others[key]) for key in arrays)
