#!/usr/bin/env python3
"""Train the checkpoints of weights/ with timm's own modules on CIFAR-10, and record their logits.

    python scripts/train_cifar10.py vit  --data cifar10.zip --epochs 11
    python scripts/train_cifar10.py cait --data cifar10.zip --epochs 7

The zip holds JPEGs as train/<class>/*.jpg and test/<class>/*.jpg. Each model trains in about an
hour on two cores. What appears in weights/ for each:

    <model>_cifar10.pth or .safetensors   the checkpoint, in float16
    <model>_cifar10_reference.npz         what PyTorch gives for 64 test images (images, logits),
                                          and the output of each block for the first
    <model>_cifar10_training.json         the accuracy measured, on all 10,000 test images
    images/<class>/                       the 64 test images

With --record-only nothing is trained: the checkpoint there is measured and recorded anew.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent.parent))
from vit_convert.parity.recorded import record_reference
from vit_convert.parity.sources.timm_source import block_outputs
from vit_convert.parity.sources.torch_compat import import_vision

timm = import_vision("timm")

IMAGES_PER_CLASS_RECORDED = (7, 7, 7, 7, 6, 6, 6, 6, 6, 6)  # 64 in all

# The normalisation that timm's pretrained configurations use for each family, so that a converter
# which assumes it from the family is right: inception mean and std for ViT, ImageNet's for CaiT.
NORMALISATION = {
    "vit": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "cait": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


def build(name: str) -> torch.nn.Module:
    """The model to train: 32x32 images in 64 patches of 4x4, ten classes, 2.7 M parameters."""
    if name == "vit":
        from timm.models.vision_transformer import VisionTransformer

        return VisionTransformer(
            img_size=32, patch_size=4, num_classes=10, embed_dim=192, depth=6, num_heads=3
        )
    from timm.models.cait import Cait

    return Cait(
        img_size=32,
        patch_size=4,
        num_classes=10,
        embed_dim=192,
        depth=4,
        num_heads=4,
        init_values=0.1,
    )


def read_split(archive: zipfile.ZipFile, split: str) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Images (n, 32, 32, 3) uint8, labels (n,) int64 and file names of one split, in name order."""
    names = sorted(
        n for n in archive.namelist() if n.startswith(f"{split}/") and n.endswith(".jpg")
    )
    classes = sorted({n.split("/")[1] for n in names})
    images = np.stack(
        [np.asarray(Image.open(io.BytesIO(archive.read(n))).convert("RGB")) for n in names]
    )
    labels = np.array([classes.index(n.split("/")[1]) for n in names])
    return images, labels, names


def normalise(images: np.ndarray, name: str) -> torch.Tensor:
    """uint8 (n, h, w, 3) -> float32 (n, 3, h, w), with the family's mean and std."""
    mean, std = (np.array(v, np.float32) for v in NORMALISATION[name])
    return torch.from_numpy((images.astype(np.float32) / 255 - mean) / std).permute(0, 3, 1, 2)


def augment(images: torch.Tensor) -> torch.Tensor:
    """Random horizontal flip and random 32x32 crop of the image padded by 4, one per image."""
    n = len(images)
    flipped = torch.where(torch.rand(n, 1, 1, 1) < 0.5, images.flip(3), images)
    padded = torch.nn.functional.pad(flipped, (4, 4, 4, 4), mode="reflect")
    rows = torch.randint(0, 9, (n, 1)) + torch.arange(32)
    columns = torch.randint(0, 9, (n, 1)) + torch.arange(32)
    index = torch.arange(n)[:, None, None]
    return padded.permute(0, 2, 3, 1)[index, rows[:, :, None], columns[:, None, :]].permute(
        0, 3, 1, 2
    )


@torch.inference_mode()
def logits_of(model: torch.nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Float32 logits (n, classes) in evaluation mode."""
    model.eval()
    return torch.cat([model(batch) for batch in images.split(250)])


def train(
    model: torch.nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    epochs: int,
    batch: int = 128,
) -> None:
    """Muon for the matrices and AdamW for the rest, one cycle of the learning rate."""
    from timm.layers import PatchDropout
    from timm.optim import create_optimizer_v2

    optimizer = create_optimizer_v2(model, opt="muon", lr=2e-3, weight_decay=0.05)
    steps_per_epoch = len(images) // batch
    total = epochs * steps_per_epoch
    warmup = max(1, steps_per_epoch // 2)
    base = [group["lr"] for group in optimizer.param_groups]
    started = time.time()
    for epoch in range(epochs):
        model.train()
        if hasattr(model, "patch_drop"):
            # Dropping half of the patches makes a step twice as fast; the last third sees them all.
            whole = epoch >= epochs * 2 / 3
            model.patch_drop = torch.nn.Identity() if whole else PatchDropout(0.5)
        order = torch.randperm(len(images))
        losses = 0.0
        for i in range(steps_per_epoch):
            step = epoch * steps_per_epoch + i
            scale = min((step + 1) / warmup, 0.5 * (1 + math.cos(math.pi * step / total)))
            for group, rate in zip(optimizer.param_groups, base, strict=True):
                group["lr"] = rate * scale
            index = order[i * batch : (i + 1) * batch]
            with torch.autocast("cpu", torch.bfloat16):
                out = model(augment(images[index])).float()
            loss = torch.nn.functional.cross_entropy(out, labels[index], label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses += loss.item()
        print(
            f"epoch {epoch + 1}/{epochs}: loss {losses / steps_per_epoch:.3f}, "
            f"{time.time() - started:.0f} s",
            flush=True,
        )


def accuracy(model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Top-1 accuracy in percent."""
    return (logits_of(model, images).argmax(1) == labels).double().mean().item() * 100


def save(name: str, model: torch.nn.Module, path: Path, **details: object) -> None:
    """Write the weights in float16, as a training checkpoint (.pth) or as safetensors."""
    weights = {key: value.half() for key, value in model.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".safetensors":
        from safetensors.torch import save_file

        save_file(weights, path, {key: str(value) for key, value in details.items()})
    else:
        torch.save({"model": weights, "args": argparse.Namespace(model=name), **details}, path)


def load(name: str, path: Path) -> torch.nn.Module:
    """The model of a checkpoint that `save` wrote, in float32."""
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        weights = load_file(path)
    else:
        # our own file: the Namespace in it is what weights_only would refuse
        weights = torch.load(path, weights_only=False)["model"]
    model = build(name)
    model.load_state_dict({key: value.float() for key, value in weights.items()})
    return model.eval()


def record(name: str, model: torch.nn.Module, archive: zipfile.ZipFile, out: Path) -> float:
    """Record 64 test images and what the model gives for them; return the test accuracy.

    `out`_reference.npz holds the outputs of the blocks for the first image too, so that
    `vit-convert verify --reference` can name the block that differs without PyTorch.
    """
    images, labels, names = read_split(archive, "test")
    chosen: list[int] = []
    for label, count in enumerate(IMAGES_PER_CLASS_RECORDED):
        chosen += range(label * 1000, label * 1000 + count)
    for i in chosen:
        path = out.parent / "images" / names[i].removeprefix("test/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(archive.read(names[i]))
    inputs = normalise(images[chosen], name)
    channels_last = inputs.permute(0, 2, 3, 1).numpy()
    record_reference(
        f"{out}_reference.npz",
        channels_last,
        logits_of(model, inputs).numpy(),
        blocks=block_outputs(model, channels_last[:1]),
        names=[names[i].removeprefix("test/") for i in chosen],
        made_with=f"timm {timm.__version__} on PyTorch {torch.__version__}",
    )
    return accuracy(model, normalise(images, name), torch.from_numpy(labels))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", choices=sorted(NORMALISATION))
    parser.add_argument("--data", type=Path, required=True, help="cifar10.zip")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--record-only", action="store_true")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent.parent / "weights")
    arguments = parser.parse_args()
    name = arguments.model
    stem = arguments.out / f"{name}_cifar10"
    checkpoint = stem.with_suffix(".pth" if name == "vit" else ".safetensors")
    report_file = Path(f"{stem}_training.json")
    report = json.loads(report_file.read_text()) if arguments.record_only else {}

    with zipfile.ZipFile(arguments.data) as archive:
        if not arguments.record_only:
            torch.manual_seed(arguments.seed)
            images, labels, _ = read_split(archive, "train")
            model = build(name)
            started = time.time()
            train(model, normalise(images, name), torch.from_numpy(labels), arguments.epochs)
            report = {
                "epochs": arguments.epochs,
                "minutes": round((time.time() - started) / 60, 1),
                "torch": torch.__version__,
                "timm": timm.__version__,
            }
            save(name, model, checkpoint, epoch=arguments.epochs)
        # What is recorded is what the file holds: weights rounded to float16, run in float32.
        report["test_top1_percent"] = round(record(name, load(name, checkpoint), archive, stem), 2)
    report_file.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report))


if __name__ == "__main__":
    main()
