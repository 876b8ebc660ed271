"""Small honest files of each format, to be broken: the tests' goldens, and some made here."""

from __future__ import annotations

import io
import json
import pickle
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
from PIL import Image

from vit_convert.architectures import ModelSpec, ViTConfig
from vit_convert.checkpoint import write_safetensors, write_torch
from vit_convert.conversion.h5_file import open_keras
from vit_convert.conversion.keras_archive import datasets_in_archive
from vit_convert.exporters.metadata import Metadata
from vit_convert.exporters.options import ExportOptions

_GOLDENS = Path(__file__).parents[2] / "tests/goldens"
_RULES = """
name = "mine"
title = "my trainer's ViT"

[rename]
"enc.{i}.norm_a.{leaf}" = "blocks.{i}.norm1.{leaf}"
"cls" = "cls_token"

[[rule]]
from = ["enc.{i}.q.{leaf}", "enc.{i}.k.{leaf}", "enc.{i}.v.{leaf}"]
to = "blocks.{i}.attn.qkv.{leaf}"
transform = "joined 3"

[ignore]
"decoder.{rest}" = "for pre-training only"

[values]
num_heads = 12
mean = [0.5, 0.5, 0.5]
gelu = "erf"
"""


def _arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    shapes = {"cls_token": (1, 1, 8), "blocks.0.norm1.weight": (8,), "head.weight": (5, 8)}
    return {name: rng.standard_normal(shape, np.float32) for name, shape in shapes.items()}


def _written(write: Callable[[Path], object]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder, "x"))
        return Path(folder, "x").read_bytes()


def _npz(compressed: bool) -> bytes:
    file = io.BytesIO()
    save = np.savez_compressed if compressed else np.savez
    save(file, **_arrays())  # type: ignore[arg-type]  # one array could be called allow_pickle
    return file.getvalue()


def _reference() -> bytes:
    file = io.BytesIO()
    rng = np.random.default_rng(2)
    np.savez_compressed(
        file,
        images=rng.standard_normal((2, 4, 6, 3), np.float32),
        logits=rng.standard_normal((2, 5), np.float32),
        names=np.array(["a", "b"]),
    )
    return file.getvalue()


def _metadata() -> bytes:
    tiny = ViTConfig(
        image_size=(4, 6),
        patch_size=(2, 3),
        num_classes=5,
        embed_dim=8,
        depth=2,
        num_heads=2,
        mlp_dim=7,
    )
    spec = ModelSpec("vit", tiny, labels=tuple("abcde"))
    made = Metadata("saved_model", spec, ExportOptions(), "normalised", ("logits",))
    return made.to_json().encode()


def _picture(kind: str, mode: str) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(3).integers(0, 256, (9, 13, 3), np.uint8)
    Image.fromarray(pixels).convert(mode).save(file, kind)
    return file.getvalue()


def _config() -> bytes:
    return json.dumps(
        {
            "model_type": "vit",
            "hidden_size": 8,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 4,
            "patch_size": [2, 2],
            "hidden_act": "gelu",
            "layer_norm_eps": 1e-6,
            "id2label": {"0": "cat", "1": "dog"},
            "vision_config": {"hidden_size": 8},
        }
    ).encode()


def _goldens(*patterns: str) -> list[bytes]:
    paths = sorted({path for pattern in patterns for path in _GOLDENS.glob(pattern)})
    return [path.read_bytes() for path in paths]


def keras_archive(h5: Path = _GOLDENS / "artifacts_0_1/vit.h5") -> bytes:
    """The model of an .h5 as a .keras archive, as tf-keras lays it out."""
    with open_keras(h5) as (spec, tensors):
        classes = dict.fromkeys((p.layer for p in spec.parameters()), "Layer")
        places = datasets_in_archive(spec.parameters(), classes)
        weights = io.BytesIO()
        with h5py.File(weights, "w") as file:
            for parameter in spec.parameters():
                array = tensors[parameter.name].read()
                file[places[parameter.name]] = parameter.to_keras(array)
    config = {"class_name": "Model", "config": {"spec": spec.to_dict(), "layers": classes}}
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "2.21.0"}))
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("model.weights.h5", weights.getvalue())
    return content.getvalue()


def _nested() -> list[bytes]:
    value = {"epoch": 3, "args": {"lr": 0.1}, "model": {"a": np.arange(6.0)}, "opt": [(1, "x")]}
    head = b"".join(pickle.dumps(v, 2) for v in (0x1950A86A20F9469CFC6C, 1001, {}))
    return [head + pickle.dumps(value, p) + pickle.dumps([], 2) for p in (2, 4)]


# format -> (name of the reader, name of the file, honest files)
FORMATS: dict[str, tuple[str, str, Callable[[], list[bytes]]]] = {
    "zip": (
        "checkpoint",
        "x.pth",
        lambda: [
            _written(lambda path: write_torch(path, _arrays())),
            *_goldens("checkpoint/*.zip.pth", "dialects/timm-vit/model.*"),
        ],
    ),
    "nested": ("checkpoint", "x.pth", lambda: [*_nested(), *_goldens("checkpoint/module.pth")]),
    "legacy": ("checkpoint", "x.pth", lambda: _goldens("checkpoint/*.legacy.pth")),
    "torchscript": ("checkpoint", "x.pt", lambda: _goldens("dialects/*/model.pt")),
    "safetensors": (
        "checkpoint",
        "x.safetensors",
        lambda: [
            _written(lambda path: write_safetensors(path, _arrays())),
            *_goldens("checkpoint/*.safetensors"),
        ],
    ),
    "npz": ("checkpoint", "x.npz", lambda: [_npz(True), _npz(False)]),
    "h5": ("h5", "x.h5", lambda: _goldens("artifacts_0_1/*.h5")),
    "keras": ("h5", "x.keras", lambda: [keras_archive()]),
    "saved_model": ("saved_model", "assets.extra/vit_convert.json", lambda: [_metadata()]),
    "tflite": ("tflite", "x.tflite", lambda: _goldens("artifacts_0_1/*.tflite")),
    "images": (
        "image",
        "x",
        lambda: [
            _picture(kind, mode)
            for kind, mode in (
                ("PNG", "RGB"),
                ("PNG", "P"),
                ("JPEG", "L"),
                ("WEBP", "RGB"),
                ("GIF", "P"),
                ("BMP", "RGB"),
                ("TIFF", "RGB"),
            )
        ],
    ),
    "json": ("sidecars", "config.json", lambda: [_config()]),
    "toml": ("rules", "x.toml", lambda: [_RULES.encode()]),
    "reference": ("reference", "x.npz", lambda: [_reference()]),
}
