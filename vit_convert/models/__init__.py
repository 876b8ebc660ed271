"""The models in tf-keras. Importing this imports TensorFlow."""

from __future__ import annotations

from vit_convert.architectures import ModelSpec
from vit_convert.tensorflow_quiet import quiet

with quiet():
    import tf_keras

    from vit_convert.models.base import ConvertedModel
    from vit_convert.models.cait import CaiT
    from vit_convert.models.vit import VisionTransformer

__all__ = ["CaiT", "ConvertedModel", "VisionTransformer", "build"]

_MODELS: dict[str, type[ConvertedModel]] = {m.architecture: m for m in (VisionTransformer, CaiT)}

# Keras writes the bare class name into .h5 files and the registered one into .keras files.
for _model in _MODELS.values():
    tf_keras.saving.register_keras_serializable("vit_convert")(_model)
    tf_keras.saving.get_custom_objects()[_model.__name__] = _model


def build(spec: ModelSpec, dtype: str | None = None) -> ConvertedModel:
    """The Keras model of a spec, with fresh weights.

    Raises:
        RecognitionError: the architecture is not known here.
    """
    return _MODELS[spec.architecture](spec, dtype=dtype)
