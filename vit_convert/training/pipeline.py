"""The tf.data pipelines: batches for training steps, and batches to validate on.

A step's batch follows from the seed and the step's number alone, so that a training that is resumed
sees what it would have seen.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from vit_convert.architectures import ModelSpec
from vit_convert.images.preprocessing import normalise, to_pixels
from vit_convert.progress import Progress, silent
from vit_convert.runtime.processors import cores
from vit_convert.training.folders import LabelledPictures
from vit_convert.training.mixing import BatchNoise
from vit_convert.training.recipe import Recipe
from vit_convert.training.store import DEFAULT_BUDGET, PictureStore
from vit_convert.training.views import TrainingView, settled, shown_whole

_ORDER, _VIEW, NOISE, DROP = range(4)  # what is drawn, so that each has numbers of its own


class TrainingBatches:
    """The batches of a training.

    Args:
        pictures: to train on.
        spec: of the model, which says how pictures are prepared.
        recipe: of the training.
        budget: bytes of decoded pictures to keep in memory.
        progress: told what is being done.

    Attributes:
        recipe: with what was open decided.
        spec: of the model, with pictures prepared as it sees them in training.
        store: the pictures.
        batch_size: pictures in a step, fewer than asked for where there are fewer.
        steps_per_epoch: whole batches; what is left over of an epoch's order is not seen in it.

    Raises:
        UsageError: none of the pictures of a class can be read.
    """

    def __init__(
        self,
        pictures: LabelledPictures,
        spec: ModelSpec,
        recipe: Recipe,
        *,
        budget: int = DEFAULT_BUDGET,
        progress: Progress = silent,
    ) -> None:
        self.pictures = pictures
        self.store = PictureStore(pictures.paths, budget=budget, progress=progress)
        self.recipe = settled(recipe, self.store, spec)
        self._usable = np.array(
            [i for i in range(len(pictures)) if i not in self.store.unreadable], np.int64
        )
        self.batch_size = min(recipe.batch_size, len(self._usable))
        self.batch_size -= self.batch_size % recipe.devices
        self.steps_per_epoch = len(self._usable) // max(1, self.batch_size)
        self.spec = shown_whole(spec, self.recipe)
        self._view = TrainingView(spec.config.image_size, spec.preprocessing, self.recipe)
        self._orders: dict[int, np.ndarray] = {}
        self._lock = threading.Lock()

    def readable_of(self, label: int) -> int:
        """How many pictures of a class are not known to be unreadable."""
        return int((self.pictures.labels[self._usable] == label).sum())

    def dataset(self, start: int, end: int) -> tf.data.Dataset:
        """The batches of steps `start` to `end`: images (batch, height, width, 3), targets (batch,
        classes) and weights (batch,), float32. A picture that cannot be read has weight 0."""
        height, width = self.spec.config.image_size
        noise = BatchNoise(self.recipe)
        classes = len(self.pictures.classes)
        smoothing = self.recipe.label_smoothing
        how = self.spec.preprocessing
        mean, std = (np.array(value, np.float32) for value in (how.mean, how.std))

        def load(step: tf.Tensor) -> tuple[tf.Tensor, ...]:
            pixels, labels, weights = tf.numpy_function(
                self._load, [step], (tf.uint8, tf.int64, tf.float32), stateful=False
            )
            pixels.set_shape((self.batch_size, height, width, 3))
            labels.set_shape((self.batch_size,))
            weights.set_shape((self.batch_size,))
            return step, pixels, labels, weights

        def prepare(
            step: tf.Tensor, pixels: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor
        ) -> tuple[tf.Tensor, ...]:
            images = (tf.cast(pixels, tf.float32) / 255.0 - mean) / std
            # as timm's Mixup: what is taken from the class is shared by all
            targets = tf.one_hot(labels, classes) * (1.0 - smoothing) + smoothing / classes
            seed = step_seed(self.recipe.seed, NOISE, step)
            return *noise(images, targets, seed), weights

        options = tf.data.Options()
        options.deterministic = True
        options.experimental_optimization.apply_default_optimizations = True
        return (
            tf.data.Dataset.range(start, end)
            .map(load, num_parallel_calls=cores(), deterministic=True)
            .map(prepare, num_parallel_calls=1, deterministic=True)
            .prefetch(4)
            .with_options(options)
        )

    def _order(self, epoch: int) -> np.ndarray:
        with self._lock:
            if epoch not in self._orders:
                rng = np.random.default_rng((self.recipe.seed, _ORDER, epoch))
                for old in [e for e in self._orders if e < epoch - 1]:
                    del self._orders[old]
                self._orders[epoch] = rng.permutation(self._usable)
            return self._orders[epoch]

    def _load(self, step: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        epoch, place = divmod(int(step), self.steps_per_epoch)
        first = place * self.batch_size
        indices = self._order(epoch)[first : first + self.batch_size]
        pixels = np.zeros((self.batch_size, *self.spec.config.image_size, 3), np.uint8)
        weights = np.zeros(self.batch_size, np.float32)
        rng = np.random.default_rng((self.recipe.seed, _VIEW, int(step)))
        for slot, index in enumerate(indices):
            picture = self.store.pixels(int(index))
            if picture is not None:
                pixels[slot] = self._view.of(picture, rng)
                weights[slot] = 1.0
        return pixels, self.pictures.labels[indices], weights


class ValidationBatches:
    """Pictures to validate on, prepared bit by bit as `predict` prepares them.

    Args:
        pictures, spec, budget, progress: as those of TrainingBatches.
        batch_size: pictures at a time.
    """

    def __init__(
        self,
        pictures: LabelledPictures,
        spec: ModelSpec,
        *,
        batch_size: int = 256,
        budget: int = DEFAULT_BUDGET,
        progress: Progress = silent,
    ) -> None:
        from PIL import Image

        size, self._preprocessing = spec.config.image_size, spec.preprocessing
        self.store = PictureStore(
            pictures.paths,
            lambda image: Image.fromarray(to_pixels(image, size, spec.preprocessing)),
            budget=budget,
            progress=progress,
        )
        self.pictures = pictures
        self._shape = (None, *size, 3)
        self._batch = batch_size

    def dataset(self) -> tf.data.Dataset:
        """Batches of images (batch, height, width, 3) float32, labels (batch,) int64 and indices
        of the pictures (batch,) int64; those that cannot be read are left out."""

        def load(start: tf.Tensor) -> tuple[tf.Tensor, ...]:
            images, labels, indices = tf.numpy_function(
                self.images, [start], (tf.float32, tf.int64, tf.int64), stateful=False
            )
            images.set_shape(self._shape)
            labels.set_shape((None,))
            indices.set_shape((None,))
            return images, labels, indices

        starts = tf.data.Dataset.range(0, len(self.pictures), self._batch)
        return starts.map(load, num_parallel_calls=2, deterministic=True).prefetch(2)

    def batches(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """The same batches as arrays, without empty ones."""
        for start in range(0, len(self.pictures), self._batch):
            found = self.images(start)
            if len(found[2]):
                yield found

    def normalised(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels of the model's size (n, height, width, 3) uint8 as its input, float32."""
        return normalise(pixels, self._preprocessing)

    def images(self, start: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The batch that begins at a picture; see `dataset`."""
        indices = range(int(start), min(int(start) + self._batch, len(self.pictures)))
        found = [(i, pixels) for i in indices if (pixels := self.store.pixels(i)) is not None]
        read = np.array([i for i, _ in found], np.int64)
        shape = (0, *self._shape[1:])
        pixels = np.stack([p for _, p in found]) if found else np.zeros(shape, np.uint8)
        return self.normalised(pixels), self.pictures.labels[read], read


def step_seed(seed: int, kind: int, step: tf.Tensor) -> tf.Tensor:
    """The seed (2,) int32 of one kind of noise in one step."""
    return tf.random.experimental.stateless_fold_in((seed, kind), step)
