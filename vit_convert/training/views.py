"""One picture as a training step sees it: cut, and changed by a policy."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

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


def shown_whole(spec: ModelSpec, recipe: Recipe) -> ModelSpec:
    """The model as it is to be used after a training: one that saw whole pictures is shown whole
    pictures, and not their enlarged middle.

    Args:
        spec: of the model.
        recipe: with `crop` decided.
    """
    if recipe.crop != "padded":
        return spec
    return replace(spec, preprocessing=replace(spec.preprocessing, crop_pct=1.0))


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
        recipe, fill = self.recipe, fill_of(self.preprocessing.mean)
        if recipe.crop == "padded":
            if pixels.shape[:2] != self.size:
                pixels = resized_crop(pixels, self.size, self.preprocessing, 1.0, rng)
            pixels = padded_crop(pixels, rng)
        else:
            least = recipe.crop_scale
            pixels = resized_crop(pixels, self.size, self.preprocessing, least, rng)
        if recipe.policy == "trivial":
            return trivial_augment(pixels, fill, rng)
        if recipe.policy == "rand":
            operations, magnitude = recipe.rand_operations, recipe.rand_magnitude
            return rand_augment(pixels, operations, magnitude, fill, rng)
        return pixels
