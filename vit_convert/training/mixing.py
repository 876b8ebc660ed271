"""What is random about a batch as a whole: flips, random erasing, mixup and CutMix, by layers of
Keras 3, which TensorFlow brings along."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from vit_convert.errors import UsageError
from vit_convert.training.recipe import Recipe


def _keras() -> Any:
    """Keras 3, with TensorFlow beneath it.

    Raises:
        UsageError: it runs on something else.
    """
    import keras

    if keras.backend.backend() != "tensorflow":
        raise UsageError(
            f"Keras 3 is set to run on {keras.backend.backend()}",
            where="KERAS_BACKEND",
            expected="tensorflow",
            hint="KERAS_BACKEND=tensorflow vit-convert ...",
        )
    return keras


class BatchNoise:
    """Changes batches at random; the same step, with the same seed, is changed in the same way.

    Args:
        recipe: its flip, erasing, mixup and cutmix are used.
    """

    def __init__(self, recipe: Recipe) -> None:
        keras = _keras()

        class StepSeeds(keras.random.SeedGenerator):  # type: ignore[name-defined]
            """Seeds that follow from a step's, where Keras's own follow from a variable: a training
            that is resumed then goes on with the noise that it would have had."""

            def __init__(self, base: tf.Tensor) -> None:
                self._base, self._drawn = base, 0

            def next(self, ordered: bool = True) -> tf.Tensor:
                """Another seed, (2,) int32."""
                self._drawn += 1
                return tf.random.experimental.stateless_fold_in(self._base, self._drawn)

        layers = keras.layers
        self._seeds: Any = StepSeeds
        self._recipe = recipe
        self._flip = layers.RandomFlip("horizontal", dtype="float32") if recipe.flip else None
        self._erase = self._mix_up = self._cut_mix = None
        if recipe.erasing:
            chance = (recipe.erasing, recipe.erasing)
            self._erase = layers.RandomErasing(chance, value_range=(-1.0, 1.0), dtype="float32")
        if recipe.mixup:
            self._mix_up = layers.MixUp(recipe.mixup, dtype="float32")
        if recipe.cutmix:
            # It draws alpha itself, from a range, and refuses one above 1. This range is a point,
            # and Beta(alpha, alpha) is what the paper says for any alpha.
            self._cut_mix = layers.CutMix((1.0, 1.0), dtype="float32")
            self._cut_mix.factor = (recipe.cutmix, recipe.cutmix)

    def __call__(
        self, images: tf.Tensor, targets: tf.Tensor, seed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Normalised images (batch, height, width, 3) and targets (batch, classes), float32, and
        the step's seed (2,) int32 -> the same shapes."""
        seeds = self._seeds(seed)
        for layer in (self._flip, self._erase):
            if layer is not None:
                change = layer.get_random_transformation(images, training=True, seed=seeds)
                images = layer.transform_images(images, change, training=True)
        mixers = [layer for layer in (self._mix_up, self._cut_mix) if layer is not None]
        if not mixers:
            return images, targets
        chance, coin = tf.unstack(tf.random.stateless_uniform((2,), seeds.next()))

        def mixed(layer: Any) -> tuple[tf.Tensor, tf.Tensor]:
            change = layer.get_random_transformation(images, training=True, seed=seeds)
            return layer.transform_images(images, change), layer.transform_labels(targets, change)

        def one() -> tuple[tf.Tensor, tf.Tensor]:
            if len(mixers) == 1:
                return mixed(mixers[0])
            return tf.cond(coin < 0.5, lambda: mixed(mixers[0]), lambda: mixed(mixers[1]))

        return tf.cond(chance < self._recipe.mix_probability, one, lambda: (images, targets))
