"""The recipe of a training: every value that can be chosen, and where its default comes from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from vit_convert.errors import UsageError, option_of

Crop = Literal["auto", "resized", "padded"]
Policy = Literal["none", "trivial", "rand"]
OptimizerName = Literal["adamw", "muon"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The choices of a training.

    The defaults are those of fine-tuning; `FROM_SCRATCH` has those of training from scratch. The
    sources of both stand in docs/training.md, too.

    Attributes:
        epochs: passes over the pictures in all, `head_epochs` among them.
        head_epochs: of them, the first, in which only the head is trained (linear probing first:
            Kumar et al. 2022, arXiv:2202.10054).
        batch_size: pictures in a step, on all devices together.
        optimizer: "adamw" (Loshchilov and Hutter 2017, arXiv:1711.05101), or "muon" for the
            matrices of the blocks and AdamW for the rest (Jordan et al. 2024; see
            `vit_convert.training.muon`).
        learning_rate: the highest one, for `batch_size` as it is. Fine-tuning: 5e-4, which MAE's
            FINETUNE.md has for ViT-B per 256 pictures (1e-3 for larger models); not made smaller
            for batches of 64, which is a choice. From scratch: 1e-3 (arXiv:2205.01580, at 1024;
            and what 128 bears in this small a model).
        head_learning_rate: the highest one while only the head is trained (1e-3, which
            arXiv:1412.6980 recommends for Adam; layer-wise decay does not lower the head's).
        min_learning_rate: where the cosine ends (`--min_lr` 1e-6 of MAE's main_finetune.py; from
            scratch, `--min-lr` 1e-5 of DeiT's main.py).
        warmup_epochs: in which the rate grows linearly from 0 (5 of 300 in DeiT's main.py, 5 of 50
            in BEiT's commands for its large model).
        weight_decay: AdamW's; of weights of linear layers and convolutions alone (0.05 of DeiT's
            main.py and of MAE's FINETUNE.md).
        layer_decay: factor of the learning rate from each block to the one below it (ELECTRA,
            arXiv:2003.10555; BEiT, arXiv:2106.08254; 0.75 is the default of MAE's
            main_finetune.py, and what MAE and BEiT take for large models; 0.65 for base ones); 1
            for none.
        beta1, beta2, epsilon: of AdamW (Loshchilov and Hutter 2017, arXiv:1711.05101).
        clip_norm: the largest global norm of the gradients (1.0, `grad_clip_norm` of big_vision's
            vit_s16_i1k.py for arXiv:2205.01580); 0 for no limit.
        label_smoothing: share of the target that all classes have (0.1, arXiv:1512.00567).
        drop_path: the last block's rate of stochastic depth (0.1, of DeiT's main.py and of MAE's
            FINETUNE.md for ViT-B).
        patch_dropout: the share of each picture's patches that is left out (Liu et al. 2022,
            arXiv:2208.07220), which makes steps as much cheaper; 0 for none.
        whole_epochs: the last epochs, in which all patches are seen, as at inference (unmasked
            tuning: Li et al. 2022, arXiv:2212.00794); None for a third of all.
        ema: decay of the moving average of the weights, which is what is kept (0.999 for runs of
            ten to twenty thousand steps); 0 for none.
        crop: "resized": a random part, resized (arXiv:1409.4842, as in timm); "padded": shifted by
            up to an eighth of the side, as for CIFAR (He et al. 2015, arXiv:1512.03385: 4 of 32
            pixels; reflected, not black); "auto": padded where the pictures are as small as the
            model's input, and no larger than 64 pixels; else resized.
        crop_scale: the smallest area of a random part, as a share of the picture (0.08 from
            scratch, arXiv:1409.4842; 0.35 for fine-tuning, where pictures are few).
        flip: whether pictures are flipped left to right.
        policy: "trivial" is TrivialAugment (arXiv:2103.10158), which has nothing to choose; "rand"
            is RandAugment (arXiv:1909.13719).
        rand_operations, rand_magnitude: of RandAugment, the latter in 0..30 (2 and 9, torchvision's
            defaults; timm's and DeiT's "rand-m9" counts to 10, and is 27 here).
        mixup: alpha of mixup (arXiv:1710.09412); 0 for none (0.2 in big_vision's vit_s16_i1k.py for
            arXiv:2205.01580, and the least of arXiv:2106.10270).
        cutmix: alpha of CutMix (arXiv:1905.04899); 0 for none. Where both are on, each batch has
            one of them, by a coin (timm's `switch_prob=0.5`).
        mix_probability: share of the batches that are mixed.
        erasing: probability of random erasing (arXiv:1708.04896).
        freeze: "none", "backbone", or "blocks:N", the first N blocks and what is before them.
        lora: rank of LoRA (arXiv:2106.09685); 0 for none.
        mixed_precision: compute in bfloat16 (arXiv:1905.12322); weights stay float32.
        xla: whether steps are compiled by XLA, which takes up to a minute and makes them faster;
            the default from scratch. Not on several devices. Stochastic depth and patch dropout
            draw other numbers then.
        devices: how many train together.
        seed: of fresh weights, of the split, of the order and of all noise.
    """

    epochs: int = 20
    head_epochs: int = 5
    batch_size: int = 64
    optimizer: OptimizerName = "adamw"
    learning_rate: float = 5e-4
    head_learning_rate: float = 1e-3
    min_learning_rate: float = 1e-6
    warmup_epochs: float = 1.0
    weight_decay: float = 0.05
    layer_decay: float = 0.75
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    clip_norm: float = 1.0
    label_smoothing: float = 0.1
    drop_path: float = 0.1
    patch_dropout: float = 0.0
    whole_epochs: int | None = None
    ema: float = 0.0
    crop: Crop = "auto"
    crop_scale: float = 0.35
    flip: bool = True
    policy: Policy = "none"
    rand_operations: int = 2
    rand_magnitude: int = 9
    mixup: float = 0.0
    cutmix: float = 0.0
    mix_probability: float = 1.0
    erasing: float = 0.0
    freeze: str = "none"
    lora: int = 0
    mixed_precision: bool = False
    xla: bool = False
    devices: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        self.frozen_blocks()
        for name, least, most in _RANGES:
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                raise UsageError(
                    f"{name} cannot be {value}",
                    where=option_of(name),
                    expected=f"{least:g} to {most:g}",
                )
        if self.lora and self.freeze != "none":
            raise UsageError(
                "LoRA freezes all but its additions and the head",
                where=f"--lora {self.lora} --freeze {self.freeze}",
                expected="one of them",
            )
        if self.head_epochs > self.epochs:
            raise UsageError(
                f"the head alone cannot be trained for {self.head_epochs} of {self.epochs} epochs",
                where="--head-epochs",
                expected=f"at most the {self.epochs} of --epochs",
            )
        if self.batch_size % self.devices:
            raise UsageError(
                f"batches of {self.batch_size} cannot be shared out to {self.devices} devices",
                where="--batch-size",
                expected=f"a multiple of {self.devices}",
            )

    def frozen_blocks(self) -> int | None:
        """How many blocks `freeze` freezes, with what is before them; None for the whole backbone.

        Raises:
            UsageError: `freeze` says nothing of these.
        """
        if self.freeze in ("none", "backbone"):
            return 0 if self.freeze == "none" else None
        kind, _, count = self.freeze.partition(":")
        if kind != "blocks" or not (count.isascii() and count.isdigit()) or int(count) < 1:
            raise UsageError(
                f"{self.freeze!r} is nothing to freeze",
                where="--freeze",
                expected="backbone, blocks:N (the first N) or none",
            )
        return int(count)

    def whole_from(self) -> int:
        """The first epoch, from 0, whose steps see all patches."""
        if not self.patch_dropout:
            return 0
        whole = self.whole_epochs
        return max(0, self.epochs - (math.ceil(self.epochs / 3) if whole is None else whole))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    def but(self, changes: Mapping[str, Any]) -> Recipe:
        """The recipe with the values that are not None."""
        known = {item.name for item in fields(self)}
        return replace(self, **{k: v for k, v in changes.items() if v is not None and k in known})

    def difference(self, other: Mapping[str, Any]) -> str:
        """The first value in which another recipe differs, for people; "" if there is none."""
        for name, value in self.to_dict().items():
            if other.get(name) != value:
                return f"{option_of(name)}: it was {other.get(name)}, and is {value} now"
        return ""


# (field, least, most)
_RANGES = (
    ("epochs", 1, 1e6),
    ("head_epochs", 0, 1e6),
    ("batch_size", 1, 1e6),
    ("learning_rate", 0, 1e3),
    ("head_learning_rate", 0, 1e3),
    ("min_learning_rate", 0, 1e3),
    ("warmup_epochs", 0, 1e6),
    ("weight_decay", 0, 1e3),
    ("layer_decay", 0.01, 1),
    ("clip_norm", 0, 1e9),
    ("label_smoothing", 0, 0.99),
    ("drop_path", 0, 0.99),
    ("patch_dropout", 0, 0.95),
    ("whole_epochs", 0, 1e6),
    ("ema", 0, 0.999999),
    ("crop_scale", 0.01, 1),
    ("rand_operations", 1, 20),
    ("rand_magnitude", 0, 30),
    ("mixup", 0, 100),
    ("cutmix", 0, 100),
    ("mix_probability", 0, 1),
    ("erasing", 0, 1),
    ("lora", 0, 1e6),
    ("devices", 1, 1024),
    ("seed", 0, 2**31 - 1),
)


# DeiT's recipe (arXiv:2012.12877) made milder: small models do best with little augmentation
# (Steiner et al. 2021, arXiv:2106.10270, figure 4; big_vision's vit_i1k.py has none but "light1",
# crops and flips, for Ti/16)
FROM_SCRATCH = Recipe(
    epochs=100,
    head_epochs=0,
    batch_size=128,
    learning_rate=1e-3,
    min_learning_rate=1e-5,
    warmup_epochs=5.0,
    layer_decay=1.0,
    ema=0.999,
    crop_scale=0.08,
    policy="trivial",
    mixup=0.2,
    erasing=0.0,
    xla=True,
)
