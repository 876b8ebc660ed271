"""Fine-tunes a CaiT of weights/ with timm and PyTorch alone: the head, then all.

Reads a JSON object from stdin: checkpoint, recipe (a `Recipe` as plain values), and runs, each with
train and test (folders with one subfolder per class) and a seed. Writes a JSON list to stdout: for
each run, the accuracy in percent after each of the two phases.

Model, parameter groups, optimizer and schedule are timm's, changes to pictures torchvision's.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[2]))
from vit_convert.parity.sources.torch_compat import import_vision

import_vision("timm")
# E402: what needs torchvision and timm comes behind what makes them importable
from safetensors.torch import load_file  # noqa: E402
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD  # noqa: E402
from timm.loss import LabelSmoothingCrossEntropy  # noqa: E402
from timm.models.cait import Cait  # noqa: E402
from timm.optim import create_optimizer_v2  # noqa: E402
from timm.scheduler import CosineLRScheduler  # noqa: E402
from torch.utils.data import DataLoader  # noqa: E402
from torchvision import transforms  # noqa: E402
from torchvision.datasets import ImageFolder  # noqa: E402

_AS_INPUT = (
    transforms.ToTensor(),
    transforms.Normalize(IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD),
)
_SHIFTED = (
    transforms.RandomCrop(32, padding=4, padding_mode="reflect"),
    transforms.RandomHorizontalFlip(),
)


def pretrained(checkpoint: str, classes: int, drop_path: float) -> Cait:
    """The model of the checkpoint with a fresh head, as scripts/train_cifar10.py built it."""
    model = Cait(
        img_size=32,
        patch_size=4,
        num_classes=classes,
        embed_dim=192,
        depth=4,
        num_heads=4,
        init_values=0.1,
        drop_path_rate=drop_path,
    )
    weights = {
        name: tensor.float()
        for name, tensor in load_file(checkpoint).items()
        if not name.startswith("head.")
    }
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert sorted(missing) == ["head.bias", "head.weight"]
    assert not unexpected
    model.group_matcher = lambda coarse=False: layer_of(model)
    return model


def layer_of(model: Cait) -> Any:
    """timm counts CaiT's two class-attention blocks as if they stood beside the last two blocks;
    vit-convert counts them where they stand, above all others. Here they are counted as there."""
    blocks, tokens = len(model.blocks), len(model.blocks_token_only)

    def layer(name: str) -> float:
        part, _, rest = name.partition(".")
        if part in ("cls_token", "pos_embed", "patch_embed"):
            return 0
        if part == "blocks":
            return int(rest.partition(".")[0]) + 1
        if part == "blocks_token_only":
            return int(rest.partition(".")[0]) + 1 + blocks
        return blocks + tokens if part == "norm" else float("inf")

    return layer


def train(model: Cait, loader: Any, recipe: dict[str, Any], *, epochs: int, head: bool) -> None:
    """One phase: the head alone, behind a backbone as in inference, or all.

    Args:
        model: changed in place.
        loader: gives the batches of an epoch, as a DataLoader does.
        recipe: a `Recipe` as plain values.
        epochs: of this phase.
        head: whether the head alone is trained.
    """
    for name, parameter in model.named_parameters():
        parameter.requires_grad = not head or name.startswith("head.")
    model.train(not head)
    peak = recipe["head_learning_rate" if head else "learning_rate"]
    optimizer = create_optimizer_v2(
        model,
        opt="adamw",
        lr=peak,
        weight_decay=recipe["weight_decay"],
        layer_decay=recipe["layer_decay"],
        betas=(recipe["beta1"], recipe["beta2"]),
        eps=recipe["epsilon"],
    )
    steps = epochs * len(loader)
    warmup = 0 if head else min(round(recipe["warmup_epochs"] * len(loader)), steps // 2)
    schedule = CosineLRScheduler(
        optimizer,
        t_initial=steps,
        lr_min=recipe["min_learning_rate"],
        warmup_t=warmup,
        warmup_lr_init=peak / (warmup + 1),
        t_in_epochs=False,
    )
    loss_of = LabelSmoothingCrossEntropy(recipe["label_smoothing"])
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    step = 0
    for _ in range(epochs):
        for images, labels in loader:
            schedule.step_update(step)
            optimizer.zero_grad()
            loss_of(model(images), labels).backward()
            torch.nn.utils.clip_grad_norm_(trained, recipe["clip_norm"])
            optimizer.step()
            step += 1


@torch.inference_mode()
def accuracy(model: Cait, folder: str) -> float:
    """Percent of the pictures of a folder."""
    model.eval()
    hits, count = 0, 0
    pictures = ImageFolder(folder, transforms.Compose(_AS_INPUT))
    for images, labels in DataLoader(pictures, batch_size=250):
        hits += int((model(images).argmax(1) == labels).sum())
        count += len(labels)
    return 100 * hits / count


def run(
    checkpoint: str, recipe: dict[str, Any], train_on: str, test: str, seed: int
) -> list[float]:
    """Accuracy after the head alone, and after all."""
    torch.manual_seed(seed)
    pictures = ImageFolder(train_on, transforms.Compose([*_SHIFTED, *_AS_INPUT]))
    loader = DataLoader(pictures, recipe["batch_size"], shuffle=True, drop_last=True)
    model = pretrained(checkpoint, len(pictures.classes), recipe["drop_path"])
    train(model, loader, recipe, epochs=recipe["head_epochs"], head=True)
    found = [accuracy(model, test)]
    train(model, loader, recipe, epochs=recipe["epochs"] - recipe["head_epochs"], head=False)
    return [*found, accuracy(model, test)]


def main() -> None:
    asked = json.load(sys.stdin)
    found = [
        run(asked["checkpoint"], asked["recipe"], each["train"], each["test"], each["seed"])
        for each in asked["runs"]
    ]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
