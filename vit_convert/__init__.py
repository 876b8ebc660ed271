"""PyTorch ViT and CaiT checkpoints become TensorFlow artifacts that are proven equal to them.

Everything below is imported when it is first used, so that `import vit_convert` costs nothing.
Once tf_keras is imported too, `tf_keras.models.load_model` knows the models of this package.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from vit_convert.runtime.import_hook import after_import

_HOMES = {
    "open_checkpoint": "vit_convert.checkpoint",
    "recognise": "vit_convert.conversion.convert",
    "convert": "vit_convert.conversion.convert",
    "torch2keras": "vit_convert.conversion.files",
    "keras2torch": "vit_convert.conversion.files",
    "create_model": "vit_convert.models.creation",
    "load_model": "vit_convert.exporters.keras_h5",
    "export": "vit_convert.exporters",
    "export_all": "vit_convert.exporters",
    "open_artifact": "vit_convert.exporters",
    "ExportOptions": "vit_convert.exporters",
    "verify": "vit_convert.parity.verify",
    "record": "vit_convert.parity.recording",
    "predict": "vit_convert.inference.predict",
    "evaluate": "vit_convert.inference.evaluate",
    "benchmark": "vit_convert.inference.benchmark",
    "Overrides": "vit_convert.architectures",
    "AssumptionWarning": "vit_convert.errors",
    "read_options": "vit_convert.statements.option_file",
    "VitConvertError": "vit_convert.errors",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'vit_convert' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__


# Registers the model classes with Keras: now if tf_keras is imported already, else once it is.
after_import("tf_keras", "vit_convert.models")
