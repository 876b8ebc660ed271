"""The models in tf-keras. Importing this imports TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping

from vit_convert.architectures import ModelSpec
from vit_convert.runtime.quiet_tensorflow import quiet

with quiet():
    import tensorflow as tf
    import tf_keras

    from vit_convert.models.base import ConvertedModel, Endpoints
    from vit_convert.models.cait import CaiT
    from vit_convert.models.layers.weighted import supplied_weights
    from vit_convert.models.vit import VisionTransformer

__all__ = ["CaiT", "ConvertedModel", "VisionTransformer", "build", "forward", "model_class"]

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
    return model_class(spec)(spec, dtype=dtype)


def model_class(spec: ModelSpec) -> type[ConvertedModel]:
    """The class of the Keras model of a spec."""
    return _MODELS[spec.architecture]


def forward(spec: ModelSpec, images: tf.Tensor, weights: Mapping[str, tf.Tensor]) -> Endpoints:
    """The forward pass of a spec's model in inference, without the model: no variables are made.

    Args:
        spec: what to run.
        images: (batch, height, width, channels), a tensor of the graph that is being traced.
        weights: canonical name -> tensor in Keras's layout, all of spec.parameters().
    """
    names = {p.keras_path: p.name for p in spec.parameters()}
    config = spec.with_config(drop_rate=0.0, attn_drop_rate=0.0, drop_path_rate=0.0).config
    with supplied_weights(lambda path: weights[names[path]]):
        policy = tf_keras.mixed_precision.Policy("float32")
        return model_class(spec).connect(config, images, policy)
