"""Plain `model.fit` of keras-hub's ViTBackbone under average pooling and a linear head.

Reads from stdin a shape (JSON), then numbers of steps, one a line; answers with the number of
parameters, then with the seconds of each.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import keras
import keras_hub
import numpy as np
import tensorflow as tf


def compiled(shape: dict[str, Any]) -> keras.Model:
    """The model, with AdamW of the same settings as ours."""
    keras.config.set_dtype_policy(shape["dtype"])
    backbone = keras_hub.models.ViTBackbone(
        image_shape=(shape["image_size"], shape["image_size"], 3),
        patch_size=shape["patch_size"],
        num_layers=shape["depth"],
        num_heads=shape["num_heads"],
        hidden_dim=shape["embed_dim"],
        mlp_dim=4 * shape["embed_dim"],
        use_class_token=False,
    )
    pooled = keras.layers.GlobalAveragePooling1D()(backbone.output)
    logits = keras.layers.Dense(shape["classes"], dtype="float32")(pooled)
    model = keras.Model(backbone.input, logits)
    model.compile(
        keras.optimizers.AdamW(1e-3, weight_decay=0.05),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    return model


def main() -> None:
    shape = json.loads(sys.stdin.readline())
    rng = np.random.default_rng(0)
    size, batch = shape["image_size"], shape["batch_size"]
    images = rng.standard_normal((4 * batch, size, size, 3), np.float32)
    labels = rng.integers(0, shape["classes"], 4 * batch)
    data = tf.data.Dataset.from_tensor_slices((images, labels)).batch(batch).cache().repeat()
    model = compiled(shape)
    print(json.dumps({"parameters": model.count_params()}), flush=True)
    for line in sys.stdin:
        started = time.perf_counter()
        model.fit(data, steps_per_epoch=int(line), verbose=0)
        print(json.dumps({"seconds": time.perf_counter() - started}), flush=True)


if __name__ == "__main__":
    main()
