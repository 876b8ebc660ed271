"""New models, without a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from vit_convert.architectures import TransformerConfig
from vit_convert.architectures.creation import new_spec
from vit_convert.architectures.initialisation import Init, initial_values
from vit_convert.models import ConvertedModel, build

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from vit_convert.architectures.options import ModelOptions


def create_model(
    model: str | TransformerConfig,
    *,
    labels: Sequence[str] = (),
    seed: int | None = None,
    dtype: str | None = None,
    init: Init = "usual",
    **options: Unpack[ModelOptions],
) -> ConvertedModel:
    """Make a Keras model with fresh weights, ready to be trained.

    Args:
        model: the name of a published model, as timm calls it ("vit_tiny_patch16_224"); or a
            `ViTConfig` or `CaiTConfig` of `vit_convert.architectures`.
        labels: names of the classes, which the model carries; `num_classes` follows from them.
        seed: of the weights, 0 or more; by default drawn by NumPy's global generator, which
            `tf_keras.utils.set_random_seed` sets.
        init: what weights begin with: "usual" is timm's; "mimetic" begins with attention that mixes
            neighbours, which trains faster where pictures are few.
        dtype: Keras dtype policy, e.g. "mixed_bfloat16"; the global one by default.
        options: what is to be otherwise than published: fields of the configuration
            (`image_size=32`, `patch_size=4`, `pool="avg"`, `class_token=False`, `num_classes=10`,
            `drop_path_rate=0.1`, ...), and of the way pictures are prepared (`mean`, `std`,
            `interpolation`, `crop_pct`, `crop_mode`). Hidden widths keep their ratio to
            `embed_dim`, and the last norm stands behind average pooling, as in timm.

    Returns:
        a model of (n, height, width, channels), normalised, -> (n, classes) logits. Its weights
        are drawn as timm draws them; see `vit_convert.architectures.initialisation`.

    Raises:
        UsageError: there is no such model or option, or the options contradict each other.
        RecognitionError: the published model is not supported.
    """
    spec = new_spec(model, options, labels)
    made = build(spec, dtype=dtype)
    if seed is None:
        seed = int(np.random.randint(2**31))  # Keras's seed sets this generator
    made.assign(dict(initial_values(spec, seed, init=init)))
    return made
