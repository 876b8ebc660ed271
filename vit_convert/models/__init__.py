"""The models in tf-keras. Importing this imports TensorFlow."""

from __future__ import annotations

from vit_convert.architectures import (
    Architecture,
    ModelSpec,
    architecture,
    architectures,
    resolve,
)
from vit_convert.runtime.quiet_tensorflow import quiet

with quiet():
    import tf_keras

    from vit_convert.models.base import ConvertedModel

__all__ = ["ConvertedModel", "build", "model_class"]


def build(spec: ModelSpec, dtype: str | None = None) -> ConvertedModel:
    """The Keras model of a spec, with fresh weights.

    Raises:
        RecognitionError: the architecture is not known here.
    """
    return model_class(architecture(spec.architecture))(spec, dtype=dtype)


def model_class(family: Architecture) -> type[ConvertedModel]:
    """The class of an architecture's Keras models, which tf-keras knows from now on.

    Raises:
        RecognitionError: there is none.
    """
    found: type[ConvertedModel] = resolve(family.keras_model)
    # Keras writes the bare class name into .h5 files and the registered one into .keras files.
    custom_objects = tf_keras.saving.get_custom_objects()
    if custom_objects.get(found.__name__) is not found:
        tf_keras.saving.register_keras_serializable("vit_convert")(found)
        custom_objects[found.__name__] = found
    return found


# so that `tf_keras.models.load_model` opens the files of all of them
for _family in architectures():
    model_class(_family)
