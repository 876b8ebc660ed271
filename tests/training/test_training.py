"""A training learns, stops at what is not finite, and gives a model that goes back to PyTorch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import torch
from families import timm
from PIL import Image

from vit_convert.conversion.files import keras2torch
from vit_convert.errors import UsageError
from vit_convert.exporters import open_artifact
from vit_convert.images.preprocessing import normalise
from vit_convert.inference.running import prepare
from vit_convert.models.creation import create_model
from vit_convert.models.layers.noise import PatchDropout
from vit_convert.training.devices import strategy_of
from vit_convert.training.folders import read_folder
from vit_convert.training.optimizer import Optimizer
from vit_convert.training.parameter_groups import parameter_groups
from vit_convert.training.pipeline import TrainingBatches, ValidationBatches
from vit_convert.training.recipe import FROM_SCRATCH, Recipe
from vit_convert.training.run import DivergedError, Training
from vit_convert.training.saving import write_trained
from vit_convert.training.start import fresh
from vit_convert.training.state import Identity
from vit_convert.training.steps import TrainStep

SCRATCH = FROM_SCRATCH.but({"xla": False})  # which is not worth it for a few steps
SHAPE = {"image_size": 16, "patch_size": 8, "depth": 2, "embed_dim": 24, "num_heads": 2}


WIDE = {"image_size": (16, 24), "depth": 1, "num_classes": 5}


def training(pictures: Path, held: Path | None, folder: Path, recipe: Recipe) -> Training:
    found = read_folder(pictures)
    model = fresh("vit_tiny_patch16_224", found, recipe, SHAPE).model
    batches = TrainingBatches(found, model.spec, recipe)
    validation = ValidationBatches(read_folder(held), batches.spec) if held else None
    identity = Identity(recipe, "", "")
    return Training(model, batches, validation, folder, identity, strategy_of(1))


def test_it_learns_and_goes_back_to_pytorch(
    pictures: Path, held_back: Path, tmp_path: Path
) -> None:
    recipe = SCRATCH.but({"epochs": 25, "batch_size": 16, "warmup_epochs": 2, "ema": 0.9})
    run = training(pictures, held_back, tmp_path, recipe)
    weights = run.run()
    assert run.history[-1].loss < 0.8 * run.history[0].loss
    assert run.history[-1].validation_accuracy >= 90  # three colours; chance is 33
    path = tmp_path / "trained.h5"
    write_trained(path, run.spec, weights)
    artifact = open_artifact(path)
    # what it was validated on is what `predict` gives it, bit by bit
    assert run.validation is not None
    images, labels, _ = next(run.validation.batches())
    expected = prepare(run.validation.pictures.paths, artifact)
    np.testing.assert_array_equal(images, expected)
    (in_graph, _, _) = next(iter(run.validation.dataset()))
    np.testing.assert_array_equal(in_graph.numpy(), expected)
    # and it is the whole of each picture, as training saw it, and not its enlarged middle
    pixels = np.stack([np.asarray(Image.open(path)) for path in run.validation.pictures.paths])
    np.testing.assert_array_equal(expected, normalise(pixels, artifact.spec.preprocessing))
    logits = next(iter(artifact.run(images).values()))
    found = 100 * float((logits.argmax(axis=1) == labels).mean())
    assert found == pytest.approx(run.history[-1].validation_accuracy)
    keras2torch(path, tmp_path / "trained.pth")
    theirs = timm.models.VisionTransformer(
        img_size=16, patch_size=8, num_classes=3, embed_dim=24, depth=2, num_heads=2
    )
    theirs.load_state_dict(torch.load(tmp_path / "trained.pth"))
    with torch.no_grad():
        given = theirs.eval()(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy()
    np.testing.assert_allclose(logits, given, atol=1e-5 * np.abs(given).max())


def test_what_diverges_keeps_the_last_good_weights(pictures: Path, tmp_path: Path) -> None:
    recipe = SCRATCH.but({"epochs": 1, "batch_size": 16})
    run = training(pictures, None, tmp_path, recipe)
    seen = []

    def spoil(report: object) -> None:
        seen.append({k: v.copy() for k, v in run.weights().items()})
        run.variables["head/bias:0"].assign(tf.fill((3,), np.inf))

    run.observer = spoil
    with pytest.raises(DivergedError, match=r"in step 1 \(epoch 1\)") as error:
        run.run()
    for name, array in error.value.weights.items():
        if name != "head.bias":
            np.testing.assert_array_equal(array, seen[0][name])


def test_the_head_alone_is_trained_first_and_frozen_blocks_stay(
    pictures: Path, tmp_path: Path
) -> None:
    recipe = Recipe(epochs=2, head_epochs=1, batch_size=16, freeze="blocks:1")
    run = training(pictures, None, tmp_path, recipe)
    before = run.weights()
    after_head = []
    run.observer = lambda report: after_head.append((report.phase, run.weights()))
    run.run()
    heads = [weights for phase, weights in after_head if phase == "head"][-1]
    changed = {name for name in before if not np.array_equal(before[name], heads[name])}
    assert changed == {"head.weight", "head.bias"}
    end = after_head[-1][1]
    assert np.array_equal(before["blocks.0.mlp.fc1.weight"], end["blocks.0.mlp.fc1.weight"])
    assert np.array_equal(before["pos_embed"], end["pos_embed"])
    assert not np.array_equal(before["blocks.1.mlp.fc1.weight"], end["blocks.1.mlp.fc1.weight"])


def test_batches_follow_from_their_step_alone(pictures: Path) -> None:
    recipe = SCRATCH.but({"batch_size": 16, "cutmix": 1.0, "erasing": 0.5})
    found = read_folder(pictures)
    spec = fresh("vit_tiny_patch16_224", found, recipe, SHAPE).model.spec
    whole = list(TrainingBatches(found, spec, recipe).dataset(0, 5))
    part = list(TrainingBatches(found, spec, recipe, budget=0).dataset(3, 5))
    for expected, batch in zip(whole[3:], part, strict=True):
        for a, b in zip(expected, batch, strict=True):
            np.testing.assert_array_equal(a.numpy(), b.numpy())
    for _, targets, weights in whole:
        np.testing.assert_allclose(targets.numpy().sum(axis=1), 1, rtol=1e-5)
        assert (weights.numpy() == 1).all()
    assert not np.array_equal(whole[0][0].numpy(), whole[3][0].numpy())


def test_muon_learns_from_some_patches_and_at_last_from_all(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    usual = PatchDropout.call

    def watched(self: PatchDropout, tokens: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        kept = usual(self, tokens, training)
        seen.append(kept.shape[1])
        return kept

    changes = {"optimizer": "muon", "patch_dropout": 0.5, "epochs": 7, "batch_size": 16}
    run = training(pictures, None, tmp_path, SCRATCH.but(changes))
    monkeypatch.setattr(PatchDropout, "call", watched)
    run.run()
    assert set(seen) == {3, 5}  # the class token, and 2 or all of 4 patches
    assert seen[-1] == 5
    assert run.recipe.whole_from() == 4
    assert run.history[-1].loss < 0.9 * run.history[0].loss


def test_patches_cannot_be_left_out_where_attention_knows_their_places(pictures: Path) -> None:
    recipe = SCRATCH.but({"patch_dropout": 0.5})
    with pytest.raises(UsageError, match=r"knows the place of each patch \(rel_pos\)"):
        fresh("beit_base_patch16_224", read_folder(pictures), recipe, {"depth": 1})


def test_a_step_compiled_by_xla_is_the_same_step() -> None:
    """But for noise within the model, of which XLA draws other numbers."""
    rng = np.random.default_rng(0)
    images = rng.standard_normal((6, 16, 24, 3)).astype(np.float32)
    targets = np.eye(5, dtype=np.float32)[rng.integers(0, 5, 6)]
    weights = np.array([1, 1, 0, 1, 1, 1], np.float32)
    found = []
    for xla in (False, True):
        model = create_model("vit_tiny_patch16_224", **SHAPE | WIDE, seed=0)
        groups = parameter_groups(model.spec, 0.7)
        variables = model.named_variables()
        parameters = list(model.spec.parameters())
        optimizer = Optimizer(
            [variables[p.keras_path] for p in parameters],
            [groups[p.name] for p in parameters],
            SCRATCH.but({"optimizer": "muon"}),
        )
        step = TrainStep(model, optimizer, 0, strategy_of(1), xla=xla)
        for number in range(2):
            result = step((images, targets, weights), number, number, 1e-2)
        assert float(result.seen) == 5
        values = {name: v.numpy() for name, v in variables.items()}
        for name in [name for name in values if name.endswith("qkv/bias")]:
            # Softmax does not see the keys' bias. Its gradient is rounding alone, which AdamW
            # enlarges to steps of their own on each machine.
            values[name] = np.delete(values[name], np.s_[24:48])
        found.append(values)
    assert any(values.shape == (48,) for values in found[0].values())
    for name, expected in found[0].items():
        np.testing.assert_allclose(found[1][name], expected, atol=2e-5, err_msg=name)
