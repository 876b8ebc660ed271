"""Training here is training there: gradients, and a step of AdamW, are PyTorch's; more devices and
bfloat16 give the same curve."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
import torch
from families import CANONICAL, ENCODER_LAYER, FAMILIES, OPTIONS, SPECIAL, Family

from vit_convert.checkpoint.tensor import LazyTensor
from vit_convert.dialects import read_as_canonical
from vit_convert.models import ConvertedModel, build

CASES = {
    **{name: FAMILIES[name] for name in ("vit", "deit", "cait")},
    **{name: SPECIAL[name] for name in ("layer scale", "average pool")},
    **{
        name: OPTIONS[name]
        for name in ("dinov2", "siglip", "aimv2", "mixed", "dinov3 without registers", "parallel")
    },
}
LABELS = np.array([3, 0, 6, 2])
RATE, EPSILON, BETA = 1e-2, 1e-3, 0.999


def canonical(values: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
    """Arrays under PyTorch's names, as a family's own tensors are renamed."""
    tensors = {
        ENCODER_LAYER.sub(lambda found: CANONICAL[found[0]], name): LazyTensor.of(
            name, value.detach().numpy()
        )
        for name, value in values.items()
    }
    found = read_as_canonical(tensors, "the model").tensors
    return {name: tensor.read().copy() for name, tensor in found.items()}


def torch_gradients(family: Family, images: np.ndarray) -> dict[str, np.ndarray]:
    family.model.zero_grad()
    logits = family.model(torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))))
    torch.nn.functional.cross_entropy(logits, torch.from_numpy(LABELS)).backward()
    gradients = {}
    for name, parameter in family.model.named_parameters():
        assert parameter.grad is not None, name
        gradients[name] = parameter.grad
    return canonical(gradients)


def keras_gradients(model: ConvertedModel, images: np.ndarray) -> list[tf.Tensor]:
    with tf.GradientTape() as tape:
        loss = tf_keras.losses.sparse_categorical_crossentropy(
            LABELS, model(images, training=True), from_logits=True
        )
        loss = tf.reduce_mean(loss)
    gradients: list[tf.Tensor] = tape.gradient(loss, model.trainable_variables)
    return gradients


@pytest.mark.parametrize("case", CASES)
def test_gradients_and_a_step_of_adamw_are_pytorchs(case: str) -> None:
    family = CASES[case](depth=2)
    model = build(family.spec)
    model.assign(family.arrays())
    images = family.images()
    expected = torch_gradients(family, images)
    gradients = keras_gradients(model, images)
    by_id = {id(v): g for v, g in zip(model.trainable_variables, gradients, strict=True)}
    variables = model.named_variables()
    got = {
        p.name: p.from_keras(by_id[id(variables[p.keras_path])].numpy())
        for p in model.spec.parameters()
    }
    largest = max(np.abs(gradient).max() for gradient in expected.values())
    allowed = {}
    for name, reference in expected.items():
        # these add the same to all scores that a token gives in a head: no effect
        if name.endswith(("attn.proj_l.bias", "attn.k.bias")):
            assert max(np.abs(got[name]).max(), np.abs(reference).max()) < 1e-6 * largest
            continue
        allowed[name] = 1e-4 * np.abs(reference).max()
        assert allowed[name] > 0, name
        assert np.abs(got[name] - reference).max() < allowed[name], name
    assert len(allowed) > 0.9 * len(got)

    # Keras's epsilon stands beside the root of the uncorrected average. The step of a gradient g is
    # rate * g / (|g| + epsilon), so that what is allowed of g allows rate / epsilon times as much.
    before = CASES[case](depth=2).arrays()
    options: dict[str, Any] = {"lr": RATE, "betas": (0.9, BETA), "eps": EPSILON}
    torch.optim.AdamW(family.model.parameters(), weight_decay=0.05, **options).step()
    tf_keras.optimizers.AdamW(
        RATE, weight_decay=0.05, beta_1=0.9, beta_2=BETA, epsilon=EPSILON * (1 - BETA) ** 0.5
    ).apply_gradients(zip(gradients, model.trainable_variables, strict=True))
    after = model.arrays()
    for name, reference in canonical(dict(family.model.named_parameters())).items():
        error = np.abs(after[name] - reference).max()
        assert error < RATE / EPSILON * allowed.get(name, 1e-6) + 1e-7, name
        assert np.abs(after[name] - before[name]).max() > 10 * error, name


SCRIPT = """
import json, sys
import numpy as np, tensorflow as tf, tf_keras, vit_convert
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
rng = np.random.default_rng(0)
labels = np.arange(16) % 4
images = rng.standard_normal((16, 16, 24, 3)).astype(np.float32) + labels[:, None, None, None]
strategies = {
    "one": tf.distribute.get_strategy(),
    "two": tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]),
}
curves = {}
for case, devices, dtype in (
    ("one", "one", None), ("two", "two", None), ("bfloat16", "one", "mixed_bfloat16")
):
    with strategies[devices].scope():
        model = vit_convert.create_model(
            "vit_tiny_patch16_224", image_size=(16, 24), patch_size=8, depth=1, embed_dim=24,
            num_heads=2, num_classes=4, seed=1, dtype=dtype,
        )
        model.compile(
            tf_keras.optimizers.AdamW(2e-3),
            tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
    data = tf.data.Dataset.from_tensor_slices((images, labels)).batch(8)
    curves[case] = model.fit(data, epochs=8, verbose=0).history["loss"]
    names = [p.name for p in model.spec.parameters()]
    assert [*model.arrays()] == names
print(json.dumps(curves))
"""


def test_two_devices_and_bfloat16_give_the_same_curve(tmp_path: Path) -> None:
    """In a process of its own, whose CPU is two."""
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    curves = {k: np.array(v) for k, v in json.loads(done.stdout.splitlines()[-1]).items()}
    assert curves["one"][-1] < 0.8 * curves["one"][0]
    np.testing.assert_allclose(curves["two"], curves["one"], rtol=2e-3)
    np.testing.assert_allclose(curves["bfloat16"], curves["one"], rtol=0.05)
    assert not np.array_equal(curves["bfloat16"], curves["one"])
