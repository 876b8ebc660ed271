"""One picture as a training step sees it: cut, and changed by a policy."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from vit_convert.architectures import ModelSpec, Preprocessing
from vit_convert.images.preprocessing import Size
from vit_convert.training.crops import padded_crop, resized_crop
from vit_convert.training.policies import fill_of, rand_augment, trivial_augment
from vit_convert.training.recipe import Recipe
from vit_convert.training.store import PictureStore

_SMALL = 64  # pixels, up to which pictures of the model's size are padded and not enlarged


def settled(recipe: Recipe, store: PictureStore, spec: ModelSpec) -> Recipe:
    """The recipe with `crop` decided, where it is "auto"."""
    if recipe.crop != "auto":
        return recipe
    height, width = spec.config.image_size
    same = set(store.sizes) == {(width, height)} and max(height, width) <= _SMALL
    return replace(recipe, crop="padded" if same else "resized")


@dataclass(frozen=True)
class TrainingView:
    """Makes random views of pictures.

    Attributes:
        size: (height, width) of the model's input.
        preprocessing: the model's; its interpolation and mean are used.
        recipe: its crop and policy are used.
    """

    size: Size
    preprocessing: Preprocessing
    recipe: Recipe

    def of(self, pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A picture (any height, any width, 3) uint8 -> (height, width, 3) uint8."""
        recipe, image = self.recipe, Image.fromarray(pixels)
        fill = fill_of(self.preprocessing.mean)
        if recipe.crop == "padded":
            if image.size != self.size[::-1]:
                image = resized_crop(image, self.size, self.preprocessing, 1.0, rng)
            image = padded_crop(image, self.size, rng)
        else:
            image = resized_crop(image, self.size, self.preprocessing, recipe.crop_scale, rng)
        if recipe.policy == "trivial":
            image = trivial_augment(image, fill, rng)
        elif recipe.policy == "rand":
            operations, magnitude = recipe.rand_operations, recipe.rand_magnitude
            image = rand_augment(image, operations, magnitude, fill, rng)
        return np.asarray(image)
