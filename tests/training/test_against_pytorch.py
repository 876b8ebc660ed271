"""A fine-tuning in two phases ends with the weights that timm and PyTorch end with.

The other side is scripts/peers/finetune_timm.py, with which scripts/compare_finetuning compares.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

sys.path.append(str(Path(__file__).parents[2] / "scripts"))
from peers import finetune_timm

from vit_convert.training.devices import strategy_of
from vit_convert.training.folders import read_folder
from vit_convert.training.pipeline import TrainingBatches
from vit_convert.training.recipe import Recipe
from vit_convert.training.run import Training
from vit_convert.training.start import fresh
from vit_convert.training.state import Identity

SHAPE = {"image_size": 16, "patch_size": 8, "depth": 3, "embed_dim": 24, "num_heads": 2}
# A larger epsilon: without it, Adam makes full steps of gradients that are rounding errors.
RECIPE = Recipe(
    epochs=5, head_epochs=2, batch_size=16, drop_path=0.0, epsilon=1e-3, learning_rate=2e-3,
    layer_decay=0.6, weight_decay=0.2, clip_norm=0.7, crop="padded",
)  # fmt: skip


class Batches:
    """The batches of our pipeline, an epoch at a time, as a DataLoader gives them."""

    def __init__(self, batches: TrainingBatches) -> None:
        self._each, self._length = iter(batches.dataset(0, 10**6)), batches.steps_per_epoch

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for _ in range(self._length):
            images, targets, _ = (torch.from_numpy(t.numpy()) for t in next(self._each))
            yield images.permute(0, 3, 1, 2), targets.argmax(1)


def test_both_phases_end_with_pytorchs_weights(pictures: Path, tmp_path: Path) -> None:
    found = read_folder(pictures)
    ours = fresh("cait_xxs24_224", found, RECIPE, SHAPE).model
    batches = TrainingBatches(found, ours.spec, RECIPE)
    run = Training(ours, batches, None, tmp_path, Identity(RECIPE, "", ""), strategy_of(1))
    theirs = finetune_timm.Cait(
        img_size=16, patch_size=8, num_classes=3, embed_dim=24, depth=3, num_heads=2
    )
    rng = np.random.default_rng(0)
    before = {
        name: np.float32(name.endswith((".weight", ".gamma_1", ".gamma_2")) and array.ndim == 1)
        + rng.normal(0, 0.2, array.shape).astype(np.float32)
        for name, array in run.weights().items()
    }
    ours.assign(before)
    theirs.load_state_dict({name: torch.from_numpy(a.copy()) for name, a in before.items()})
    theirs.group_matcher = lambda coarse=False: finetune_timm.layer_of(theirs)
    given, recipe = Batches(batches), RECIPE.to_dict()
    for head, epochs in ((True, 2), (False, 3)):
        finetune_timm.train(theirs, given, recipe, epochs=epochs, head=head)
        if head:
            after_head = {k: v.detach().numpy().copy() for k, v in theirs.state_dict().items()}
    seen = SimpleNamespace(head={})
    run.observer = lambda report: seen.head.update(run.weights()) if report.phase == "head" else 0
    after = run.run()
    for name, start in before.items():
        expected = theirs.state_dict()[name].numpy()
        moved = np.abs(expected - start).max()
        error = np.abs(after[name] - expected).max()
        if name.endswith(("attn.proj_l.bias", "attn.k.bias")):  # no effect after the softmax
            assert max(error, moved) < 1e-5, name
            continue
        assert moved > 1e-5, name
        assert error < 1e-2 * moved, name
        np.testing.assert_allclose(seen.head[name], after_head[name], atol=1e-6, err_msg=name)
