"""The base of all layers here: what Keras needs to save them, and freezing of single ones."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, is_dataclass
from inspect import signature
from typing import Any, get_type_hints

import tensorflow as tf
import tf_keras

from vit_convert.architectures.stored import built

_KERAS = {*signature(tf_keras.layers.Layer.__init__).parameters}  # in its own get_config


class Layer(tf_keras.layers.Layer):
    """A layer that Keras can save in any model, and whose own weights can be frozen alone.

    `get_config` gives the arguments of `__init__`; they may be plain values, dataclasses of such
    (configurations) and other layers. A subclass is registered under its name and its package's:
    "vit_convert>Attention" in files, beside Keras's own "Attention" and those of other packages.
    """

    _frozen: frozenset[int] = frozenset()  # ids of weights

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        tf_keras.saving.register_keras_serializable(cls.__module__.partition(".")[0])(cls)

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """Keep the arguments; Keras does so too, but of plain values alone."""
        layer = super().__new__(cls, *args, **kwargs)
        given = signature(cls.__init__).bind_partial(layer, *args, **kwargs).arguments
        kept = [name for name in given if name not in _KERAS and name != "kwargs"]
        layer.__dict__["_arguments"] = {name: given[name] for name in kept}
        return layer

    def get_config(self) -> dict[str, Any]:
        """All that `from_config` needs; survives JSON."""
        arguments = {name: _plain(value) for name, value in self._arguments.items()}
        return {**super().get_config(), **arguments}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Layer:
        """The inverse of `get_config`, with fresh weights."""
        hints = get_type_hints(cls.__init__)
        return cls(**{name: _restored(value, hints.get(name)) for name, value in config.items()})

    def freeze(self, weights: Iterable[tf.Variable]) -> None:
        """Freeze these of the layer's own weights, and no others; those of layers in it are as
        they were."""
        self._frozen = frozenset(map(id, weights))

    @property
    def trainable_weights(self) -> list[tf.Variable]:
        """See Keras."""
        return [w for w in super().trainable_weights if id(w) not in self._frozen]

    @property
    def non_trainable_weights(self) -> list[tf.Variable]:
        """See Keras."""
        frozen = [w for w in super().trainable_weights if id(w) in self._frozen]
        return [*super().non_trainable_weights, *frozen]


def _plain(value: Any) -> Any:
    """An argument, for JSON."""
    if isinstance(value, Layer):
        name = tf_keras.saving.get_registered_name(type(value))
        return {"class_name": name, "config": value.get_config()}
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, (tuple, list)) else value


def _restored(value: Any, hint: Any) -> Any:
    """The inverse of `_plain`, for an argument with that annotation."""
    if isinstance(hint, type) and is_dataclass(hint):
        return built(hint, value)
    if isinstance(value, dict) and isinstance(name := value.get("class_name"), str):
        found = tf_keras.saving.get_registered_object(name)
        if isinstance(found, type) and issubclass(found, Layer):
            return found.from_config(value["config"])
    return tuple(value) if isinstance(value, list) else value
