"""PyTorch ViT and CaiT checkpoints become TensorFlow artifacts that are proven equal to them.

Everything below is imported when it is first used, so that `import vit_convert` costs nothing.
Once tf_keras is imported too, `tf_keras.models.load_model` knows the models of this package.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from vit_convert.runtime.import_hook import after_import

__version__ = "0.1.0"
"""The version of this package."""

_HOMES = {
    "Artifact": "exporters",
    "ArtifactError": "errors",
    "AssumptionWarning": "errors",
    "Attention": "reporting.attention",
    "Benchmark": "inference.benchmark",
    "Checkpoint": "checkpoint",
    "CheckpointError": "errors",
    "Conversion": "conversion.convert",
    "Evaluation": "inference.evaluation",
    "ExportOptions": "exporters",
    "Exported": "exporters",
    "Features": "inference.features",
    "ImageError": "images.decoding",
    "MappingError": "errors",
    "MissingDependencyError": "errors",
    "Options": "statements.option_file",
    "OutputError": "errors",
    "Overrides": "architectures",
    "PictureMap": "inference.maps",
    "PictureWarning": "errors",
    "Prediction": "inference.predict",
    "Progress": "progress",
    "QuantisationWarning": "errors",
    "RecognitionError": "errors",
    "Recorded": "parity.recording",
    "UsageError": "errors",
    "VerifyResult": "parity.result",
    "VitConvertError": "errors",
    "WebPage": "browser.site",
    "ZeroShot": "words.zero_shot",
    "attention": "reporting.attention",
    "benchmark": "inference.benchmark",
    "convert": "conversion.convert",
    "create_model": "models.creation",
    "evaluate": "inference.evaluate",
    "export": "exporters",
    "export_all": "exporters",
    "features": "inference.features",
    "keras2torch": "conversion.files",
    "load_model": "exporters.keras_h5",
    "open_artifact": "exporters",
    "open_checkpoint": "checkpoint",
    "predict": "inference.predict",
    "predict_maps": "inference.maps",
    "read_labels": "labels.names",
    "read_options": "statements.option_file",
    "recognise": "conversion.convert",
    "record": "parity.recording",
    "tokenize": "words.tokens",
    "torch2keras": "conversion.files",
    "verify": "parity.verify",
    "web": "browser.site",
    "zero_shot": "words.zero_shot",
}
__all__ = sorted((*_HOMES, "__version__"))

if TYPE_CHECKING:  # the same, for type checkers, which follow no string
    from vit_convert.architectures import Overrides as Overrides
    from vit_convert.browser.site import WebPage as WebPage
    from vit_convert.browser.site import web as web
    from vit_convert.checkpoint import Checkpoint as Checkpoint
    from vit_convert.checkpoint import open_checkpoint as open_checkpoint
    from vit_convert.conversion.convert import Conversion as Conversion
    from vit_convert.conversion.convert import convert as convert
    from vit_convert.conversion.convert import recognise as recognise
    from vit_convert.conversion.files import keras2torch as keras2torch
    from vit_convert.conversion.files import torch2keras as torch2keras
    from vit_convert.errors import ArtifactError as ArtifactError
    from vit_convert.errors import AssumptionWarning as AssumptionWarning
    from vit_convert.errors import CheckpointError as CheckpointError
    from vit_convert.errors import MappingError as MappingError
    from vit_convert.errors import MissingDependencyError as MissingDependencyError
    from vit_convert.errors import OutputError as OutputError
    from vit_convert.errors import PictureWarning as PictureWarning
    from vit_convert.errors import QuantisationWarning as QuantisationWarning
    from vit_convert.errors import RecognitionError as RecognitionError
    from vit_convert.errors import UsageError as UsageError
    from vit_convert.errors import VitConvertError as VitConvertError
    from vit_convert.exporters import Artifact as Artifact
    from vit_convert.exporters import Exported as Exported
    from vit_convert.exporters import ExportOptions as ExportOptions
    from vit_convert.exporters import export as export
    from vit_convert.exporters import export_all as export_all
    from vit_convert.exporters import open_artifact as open_artifact
    from vit_convert.exporters.keras_h5 import load_model as load_model
    from vit_convert.images.decoding import ImageError as ImageError
    from vit_convert.inference.benchmark import Benchmark as Benchmark
    from vit_convert.inference.benchmark import benchmark as benchmark
    from vit_convert.inference.evaluate import evaluate as evaluate
    from vit_convert.inference.evaluation import Evaluation as Evaluation
    from vit_convert.inference.features import Features as Features
    from vit_convert.inference.features import features as features
    from vit_convert.inference.maps import PictureMap as PictureMap
    from vit_convert.inference.maps import predict_maps as predict_maps
    from vit_convert.inference.predict import Prediction as Prediction
    from vit_convert.inference.predict import predict as predict
    from vit_convert.labels.names import read_labels as read_labels
    from vit_convert.models.creation import create_model as create_model
    from vit_convert.parity.recording import Recorded as Recorded
    from vit_convert.parity.recording import record as record
    from vit_convert.parity.result import VerifyResult as VerifyResult
    from vit_convert.parity.verify import verify as verify
    from vit_convert.progress import Progress as Progress
    from vit_convert.reporting.attention import Attention as Attention
    from vit_convert.reporting.attention import attention as attention
    from vit_convert.statements.option_file import Options as Options
    from vit_convert.statements.option_file import read_options as read_options
    from vit_convert.words.tokens import tokenize as tokenize
    from vit_convert.words.zero_shot import ZeroShot as ZeroShot
    from vit_convert.words.zero_shot import zero_shot as zero_shot

else:  # where a type checker saw it, every name would exist

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module 'vit_convert' has no attribute {name!r}")
        return getattr(import_module(f"vit_convert.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__


# Registers the model classes with Keras: now if tf_keras is imported already, else once it is.
after_import("tf_keras", "vit_convert.models")
