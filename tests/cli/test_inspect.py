"""vit-convert inspect."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import Command

from vit_convert.architectures import architecture
from vit_convert.checkpoint import write_safetensors


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A DeiT-Ti as published, in a training checkpoint."""
    variants = architecture("vit").variants
    config = next(v.config for v in variants if v.name == "deit_tiny_patch16_224")
    rng = np.random.default_rng(0)
    state = {
        p.name: torch.from_numpy(rng.standard_normal(p.shape, np.float32))
        for p in architecture("vit").parameters(config)
    }
    path = tmp_path / "deit_tiny_patch16_224.pth"
    torch.save({"model": state, "epoch": 7, "args": {"lr": 0.1, "[bold]": "x" * 200}}, path)
    return path


def test_it_says_what_a_checkpoint_is_and_came_from(command: Command, checkpoint: Path) -> None:
    done = command("inspect", checkpoint)
    assert done.code == 0, done.err
    for said in (
        "torch zip, 22.9 MB",
        "state dict: model",
        "epoch: 7",
        "'[bold]': 'xxx",
        "5,717,416 in 152 tensors",
        "Vision Transformer, with the shapes of deit_tiny_patch16_224",
        "timm's VisionTransformer",
        "blocks.{0..11}.attn.qkv.weight",
        "576 x 192 float32",
    ):
        assert said in done.out
    assert "x" * 100 not in done.out


def test_it_says_how_each_value_is_known(command: Command, checkpoint: Path) -> None:
    values = json.loads(command("inspect", checkpoint, "--json").out)["values"]
    assert values["embed_dim"] == {"value": 192, "known": "read", "why": "from names and shapes"}
    heads = values["num_heads"]
    assert (heads["value"], heads["known"]) == (3, "assumed")
    assert "deit_tiny_patch16_224" in heads["models"]
    assert heads["rivals"] == []
    others = [name for rival in values["mean"]["rivals"] for name in rival["names"]]
    assert any("vit_tiny_patch16_224" in name for name in others)
    assert values["mean"]["value"] == [0.485, 0.456, 0.406]
    torch_names = {f"blocks.{i}.norm1.weight": torch.ones(40) for i in range(2)}
    assert command("inspect", "no.pth").code == 2
    torch.save(torch_names, checkpoint)
    done = command("inspect", checkpoint, "--json")
    assert done.code == 2
    assert json.loads(done.out)["tensors"]["blocks.1.norm1.weight"]["shape"] == [40]


def test_artifacts_say_what_they_came_from(command: Command, checkpoint: Path) -> None:
    arguments = ("torch2keras", checkpoint, "-o", "model.h5", "--gelu", "tanh", "--num-classes", 7)
    assert command(*arguments).code == 0
    done = command("inspect", "model.h5", "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["source"]["file"] == "deit_tiny_patch16_224.pth"
    assert found["source"]["changed"] == ["head.weight", "head.bias"]
    assert found["variant"] == "deit_tiny_patch16_224"
    assert found["values"]["gelu"] == {"value": "tanh", "known": "given"}
    assert found["values"]["num_classes"] == {"value": 7, "known": "given"}
    assert found["values"]["depth"] == {"value": 12, "known": "read"}
    assert found["values"]["norm_eps"]["known"] == "assumed"
    assert "drop_rate" not in found["values"]


def test_exported_files_say_how_to_use_them(command: Command, project: Path) -> None:
    done = command("inspect", project / "maps/vit_float32.tflite")
    assert done.code == 0, done.err
    assert "1 x 24 x 50 x 3 RGB, normalised with mean and std" in done.out
    assert "outputs: output_1, and 3 attention maps" in done.out
    assert "labels: 7 (ant, bee, cat, ...)" in done.out


@pytest.mark.parametrize("kind", ["checkpoint", "artifact"])
def test_nothing_heavy_is_imported(kind: str, project: Path, tmp_path: Path) -> None:
    path = project / "vit_float32.tflite"
    if kind == "checkpoint":
        family = architecture("cait")
        arrays = {p.name: np.ones(p.shape) for p in family.parameters(family.variants[0].config)}
        path = tmp_path / "model.safetensors"
        write_safetensors(path, {k: v.astype(np.float32) for k, v in arrays.items()})
    code = (
        "import atexit, sys; from vit_convert.cli import main; "
        "heavy = {'tensorflow', 'torch', 'tf_keras', 'keras', 'matplotlib', 'PIL'}; "
        "atexit.register(lambda: print(heavy & set(sys.modules))); main()"
    )
    command_line = [sys.executable, "-c", code, "inspect", str(path)]
    done = subprocess.run(command_line, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"
