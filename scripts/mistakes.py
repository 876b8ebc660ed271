"""Forty mistakes that people make, and what the tool says to each: `scripts/make_docs` runs them.

Each is one command, in a folder with the files that `prepare` writes. They run in this process, one
after the other, and need neither PyTorch nor TensorFlow.
"""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
from PIL import Image

from vit_convert.checkpoint import open_checkpoint, write_safetensors
from vit_convert.cli import main

HOME = Path(__file__).resolve().parent.parent
# part of the work -> what was done, and the command
MISTAKES: Mapping[str, tuple[tuple[str, str], ...]] = {
    "The checkpoint": (
        ("A name with a slip", "torch2keras vit_cifar.pth"),
        ("A Git LFS pointer in place of the file", "torch2keras pointer.pth"),
        ("A web page that was saved as the file", "torch2keras page.pth"),
        ("A download that broke off", "torch2keras truncated.safetensors"),
        ("An empty file", "torch2keras empty.pth"),
        ("A ResNet", "torch2keras resnet.safetensors"),
        ("A Swin Transformer", "torch2keras swin.safetensors"),
        ("A language model", "torch2keras llama.safetensors"),
        ("A tensor is missing", "torch2keras missing.safetensors"),
        ("A tensor too many", "torch2keras extra.safetensors"),
        ("A tensor of another shape", "torch2keras misshapen.safetensors"),
        ("NaNs, after a training that diverged", "torch2keras nan.safetensors"),
        ("A Keras file where a checkpoint is wanted", "torch2keras model.h5 -o new.h5"),
        ("A .tflite file where a checkpoint is wanted", "torch2keras model_float32.tflite"),
        ("A state dict that is not in the file", "torch2keras vit_cifar10.pth --key model_ema"),
    ),
    "What the model is": (
        ("Another published model", "torch2keras vit_cifar10.pth --variant vit_base_patch16_224"),
        ("A variant with a slip", "torch2keras vit_cifar10.pth --variant vit_base_patch16_244"),
        ("A number of heads that does not divide", "torch2keras vit_cifar10.pth --num-heads 5"),
        ("A mean for pixels in 0..255", "torch2keras vit_cifar10.pth --mean 123.7,116.3,103.5"),
        ("A deviation for pixels in 0..255", "torch2keras vit_cifar10.pth --std 58.4,57.1,57.4"),
        ("An epsilon of 1", "torch2keras vit_cifar10.pth --norm-eps 1"),
        ("Labels of another data set", "torch2keras vit_cifar10.pth --labels three.txt"),
        ("A naming scheme that is not known", "torch2keras vit_cifar10.pth --dialect tim"),
        ("An option file with a slip", "torch2keras vit_cifar10.pth --config slip.toml"),
    ),
    "The output": (
        ("It exists already", "torch2keras vit_cifar10.pth -o model.h5"),
        ("Its folder does not exist", "torch2keras vit_cifar10.pth -o nowhere/model.h5"),
        ("A name that says another format", "torch2keras vit_cifar10.pth -o model.onnx"),
        ("An option with a slip", "export model.h5 --tflite --precison float16"),
        ("A command that there is not", "convert vit_cifar10.pth"),
        ("A precision that there is not", "export model.h5 --tflite --precision fp16"),
        ("int8 without pictures", "export model.h5 --tflite --precision int8"),
        (
            "Too few pictures to calibrate",
            "export model.h5 --tflite --precision int8 --calibration few",
        ),
        (
            "Pictures for a precision that needs none",
            "export model.h5 --tflite --precision float16 --calibration few",
        ),
        ("A checkpoint to convert back", "keras2torch vit_cifar10.pth"),
    ),
    "Checking and using": (
        ("Nothing to compare with", "verify model_float32.tflite"),
        (
            "A recording of another model",
            "verify model_float32.tflite --reference cait_cifar10_reference.npz",
        ),
        ("An .npz that is no recording", "verify model_float32.tflite --reference other.npz"),
        ("A picture that is none", "predict model_float32.tflite page.pth"),
        ("A folder of pictures without classes", "evaluate model_float32.tflite few"),
        (
            "Attention of a file that gives none",
            "attention model_float32.tflite few/0.png",
        ),
    ),
}


@dataclass(frozen=True)
class Answer:
    """Attributes:
    title: the mistake.
    command: without "vit-convert".
    code: the exit code.
    text: what was said, without progress and without warnings.
    """

    title: str
    command: str
    code: int
    text: str


def prepare(folder: Path) -> None:
    """Write the files that the commands name."""
    for name in ("vit_cifar10.pth", "cait_cifar10_reference.npz"):
        (folder / name).symlink_to(HOME / "weights" / name)
    (folder / "pointer.pth").write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 346284714\n"
    )
    (folder / "page.pth").write_text("<!DOCTYPE html>\n<html><body>Not found</body></html>\n")
    (folder / "empty.pth").write_bytes(b"")
    tensors = {
        name: np.asarray(tensor.read(), np.float32)
        for name, tensor in open_checkpoint(folder / "vit_cifar10.pth").tensors.items()
    }
    gone = {k: v for k, v in tensors.items() if k != "blocks.1.attn.qkv.bias"}
    write_safetensors(folder / "missing.safetensors", gone)
    write_safetensors(folder / "extra.safetensors", tensors | {"teacher.scale": np.ones(3, "f4")})
    wrong = {"blocks.1.mlp.fc1.weight": np.ones((768, 191), "f4")}
    write_safetensors(folder / "misshapen.safetensors", tensors | wrong)
    nan = {"norm.bias": np.full(192, np.nan, "f4")}
    write_safetensors(folder / "nan.safetensors", tensors | nan)
    whole = (folder / "missing.safetensors").read_bytes()
    (folder / "truncated.safetensors").write_bytes(whole[: len(whole) // 2])
    others = {
        "resnet": ("conv1.weight", "bn1.running_mean", "layer1.0.conv1.weight", "fc.weight"),
        "swin": (
            "patch_embed.proj.weight",
            "patch_embed.norm.weight",
            *(
                f"layers.{i}.blocks.{j}.{layer}.weight"
                for i in range(2)
                for j in range(2)
                for layer in ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
            ),
            "layers.0.blocks.0.attn.relative_position_bias_table",
            "layers.1.downsample.reduction.weight",
            "head.fc.weight",
        ),
        "llama": (
            "model.embed_tokens.weight",
            "model.layers.0.self_attn.q_proj.weight",
            "model.layers.0.mlp.gate_proj.weight",
            "lm_head.weight",
        ),
    }
    for name, names in others.items():
        arrays = {n: np.ones((4, 4), np.float32) for n in names}
        write_safetensors(folder / f"{name}.safetensors", arrays)
    (folder / "three.txt").write_text("cat\ndog\nbird\n")
    (folder / "slip.toml").write_text("num_haeds = 3\n")
    np.savez(folder / "other.npz", pictures=np.zeros((2, 32, 32, 3), np.float32))
    (folder / "few").mkdir()
    for i in range(3):
        pixels = np.full((32, 32, 3), 80 * i, np.uint8)
        Image.fromarray(pixels).save(folder / "few" / f"{i}.png")
    # --num-heads and the like are left out: what is assumed is warned about, and is right here
    for command in ("torch2keras vit_cifar10.pth -o model.h5", "export model.h5 --tflite"):
        answer = say("", command)
        if answer.code:
            raise RuntimeError(answer.text)


def say(title: str, command: str) -> Answer:
    """Run one command in the current folder."""
    out, err = io.StringIO(), io.StringIO()
    code = 0
    with (
        mock.patch.object(sys, "argv", ["vit-convert", *shlex.split(command)]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as exit_:
            code = int(exit_.code or 0)
    errors = err.getvalue().splitlines()
    begin = next((i for i, line in enumerate(errors) if line.lower().startswith("error")), None)
    # what a check found is a table, whose head says nothing of it
    lines = out.getvalue().splitlines()[3:] if begin is None else errors[begin:]
    lines = [line.rstrip() for line in lines if line.strip()]
    return Answer(title, command, code, "\n".join(lines))


def answers() -> Iterator[tuple[str, list[Answer]]]:
    """Each part of the work with what the tool says to its mistakes."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)
        try:
            prepare(Path(scratch))
            for part, mistakes in MISTAKES.items():
                yield part, [say(title, command) for title, command in mistakes]
        finally:
            os.chdir(before)
