"""Naming schemes on the command line: folders, --dialect, --rules and the template."""

from __future__ import annotations

import json
from pathlib import Path

from commands import Command

GOLDENS = Path(__file__).parent.parent / "goldens" / "dialects"


def test_a_folder_of_transformers_converts_under_its_own_name(
    command: Command, tmp_path: Path
) -> None:
    done = command("torch2keras", GOLDENS / "transformers-vit-vit")
    assert done.code == 0, done.err
    assert done.out.startswith("transformers-vit-vit.h5: Vision Transformer")
    assert "--gelu" not in done.err  # config.json says it
    found = json.loads(command("inspect", GOLDENS / "transformers-vit-vit", "--json").out)
    assert found["dialect"] == "transformers-vit"
    assert found["values"]["num_heads"] == {
        "value": 3, "known": "read", "why": "config.json: num_attention_heads",
    }  # fmt: skip
    done = command("keras2torch", "transformers-vit-vit.h5", "--dialect", "torchvision")
    assert done.code == 0, done.err
    assert (tmp_path / "transformers-vit-vit.safetensors").is_file()


def test_many_ignored_tensors_take_one_line(command: Command) -> None:
    done = command("torch2keras", GOLDENS / "clip-vit" / "clip.safetensors", "--num-heads", "3")
    lines = [line for line in done.err.splitlines() if line.startswith("ignored")]
    assert len(lines) == 2
    assert any("... (5 in all): the text tower's" in line for line in lines)
    assert "gelu is assumed to be quick" in done.err
    assert "--gelu changes it" in done.err


def test_a_dialect_can_be_stated(command: Command) -> None:
    golden = GOLDENS / "timm-vit" / "model.pth"
    stated = ("--dialect", "bubbliiiing", "--num-heads", "3")
    assert command("torch2keras", golden, *stated, "-o", "model.h5").code == 0
    done = command("inspect", "model.h5", "--json")
    assert json.loads(done.out)["source"]["dialect"] == "bubbliiiing"
    done = command("inspect", golden, "--dialect", "klingon")
    assert done.code == 2
    assert "torchvision" in done.err


def test_the_template_filled_in_is_a_dialect(command: Command, tmp_path: Path) -> None:
    golden = GOLDENS / "torchvision-vit" / "vit_b_16.pth"
    template = command("inspect", golden, "--rules-template")
    assert template.code == 0
    block = "encoder.layers.encoder_layer_{i}"
    names = {
        "class_token": "cls_token",
        "conv_proj.{leaf}": "patch_embed.proj.{leaf}",
        "encoder.pos_embedding": "pos_embed",
        f"{block}.ln_1.{{leaf}}": "blocks.{i}.norm1.{leaf}",
        f"{block}.self_attention.in_proj_{{leaf}}": "blocks.{i}.attn.qkv.{leaf}",
        f"{block}.self_attention.out_proj.{{leaf}}": "blocks.{i}.attn.proj.{leaf}",
        f"{block}.ln_2.{{leaf}}": "blocks.{i}.norm2.{leaf}",
        f"{block}.mlp.0.{{leaf}}": "blocks.{i}.mlp.fc1.{leaf}",
        f"{block}.mlp.3.{{leaf}}": "blocks.{i}.mlp.fc2.{leaf}",
        "encoder.ln.{leaf}": "norm.{leaf}",
        "heads.head.{leaf}": "head.{leaf}",
    }
    text = template.out
    for theirs, ours in names.items():
        assert f'"{theirs}" = ""' in text
        text = text.replace(f'"{theirs}" = ""', f'"{theirs}" = "{ours}"')
    assert '= ""' not in text
    (tmp_path / "mine.toml").write_text(text)
    done = command("torch2keras", golden, "--rules", "mine.toml", "--num-heads", "3", "-o", "m.h5")
    assert done.code == 0, done.err
    assert command("keras2torch", "m.h5").out.startswith("m.safetensors: names of mine")
    done = command("torch2keras", golden, "--rules", "mine.toml", "--dialect", "timm")
    assert done.code == 2
    assert "one of them" in done.err
