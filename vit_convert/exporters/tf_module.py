"""The common part of a SavedModel and a Hub module: variables, signatures, saving and opening.

The object saved is a plain trackable that holds the variables and functions, so that loading needs
TensorFlow alone: no Keras of any version, and not vit-convert.
"""

from __future__ import annotations

import errno
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vit_convert.errors import ArtifactError
from vit_convert.exporters.artifact import Artifact, Outputs, Run
from vit_convert.exporters.graph import (
    block_endpoints,
    entering,
    input_spec,
    output_endpoints,
    trace,
)
from vit_convert.exporters.graph_trust import check_graph
from vit_convert.exporters.metadata import Metadata, foreign
from vit_convert.exporters.options import ExportOptions, InputRange
from vit_convert.runtime.input_file import read_input
from vit_convert.runtime.limits import JSON_BYTES
from vit_convert.runtime.quiet_tensorflow import import_tensorflow, quiet

if TYPE_CHECKING:
    from vit_convert.models import ConvertedModel

_METADATA = Path("assets.extra/vit_convert.json")  # a folder that SavedModel leaves to others
PROTOBUF = "saved_model.pb"
# what TensorFlow raises of its own errors as Python's
_BROKEN = (OSError, ValueError, LookupError, AttributeError, TypeError, RuntimeError)


class TensorFlowModule:
    """A model on its way into a SavedModel.

    Attributes:
        root: what is saved; functions are added to it as attributes.
        graph: `tf.function` (images, training=False) -> {output name: tensor}.
        images: the `tf.TensorSpec` of its input, images or tokens.
        signatures: name -> concrete function; "serving_default" and "blocks" are there already.
    """

    def __init__(
        self, model: ConvertedModel, options: ExportOptions, input_range: InputRange
    ) -> None:
        endpoints = output_endpoints(model.spec, model.endpoint_names, options)
        batch = None if options.batch_size == "dynamic" else options.batch_size
        input_range = entering(model.spec, options, input_range)
        self._metadata = (model.spec, options, input_range, tuple(endpoints))
        self.images = input_spec(model.spec, batch)
        output = model.spec.output(options.output, options.block)
        self.graph = trace(model, endpoints, output, input_range)
        blocks = trace(model, block_endpoints(model, output), None, input_range)
        self.signatures = {
            "serving_default": self.graph.get_concrete_function(self.images),
            "blocks": blocks.get_concrete_function(self.images),
        }
        self.root = trackable(model, self.signatures["serving_default"])

    def plain(self, images: Any, training: bool = False) -> Any:
        """The outputs as a dict, or where there is one output, that tensor itself."""
        outputs = self.graph(images, training)
        return next(iter(outputs.values())) if len(outputs) == 1 else outputs

    def save(self, path: Path, target: str) -> None:
        """Write the folder `path`.

        Raises:
            OSError: it cannot be written.
        """
        tf = import_tensorflow()
        try:
            with quiet():
                tf.saved_model.save(self.root, str(path), signatures=self.signatures)
        except tf.errors.OpError as error:
            raise OSError(_errno(error.message), error.message) from error
        (path / _METADATA).parent.mkdir(exist_ok=True)
        (path / _METADATA).write_text(Metadata(target, *self._metadata).to_json())


def trackable(model: ConvertedModel, function: Any) -> Any:
    """An object that holds the variables of the model that a concrete function uses (all but the
    head's, for features) and nothing of Keras, under the names that TF Hub's interface for reusable
    SavedModels has for them."""
    used = {variable.ref() for variable in function.variables}
    root = import_tensorflow().train.Checkpoint()
    root.variables = [v for v in model.variables if v.ref() in used]
    root.trainable_variables = [v for v in model.trainable_variables if v.ref() in used]
    root.regularization_losses = []
    return root


def _errno(message: str) -> int:
    return errno.ENOSPC if "No space left" in message else errno.EIO


def is_saved_model(path: Path) -> bool:
    """Whether `path` is a SavedModel, of whatever origin."""
    return (path / PROTOBUF).is_file()


def read_metadata(path: Path) -> Metadata:
    """Read the metadata of the SavedModel at `path`.

    Raises:
        ArtifactError: vit-convert did not write it, or its metadata is damaged.
    """
    try:
        text = read_input(path / _METADATA, JSON_BYTES)
    except OSError as error:
        raise foreign("a SavedModel", str(path), "--saved-model") from error
    return Metadata.from_json(text, str(path))


def is_ours(path: Path, target: str) -> bool:
    """Whether the metadata of the SavedModel at `path` names this target."""
    try:
        return read_metadata(path).target == target
    except ArtifactError:
        return False


def open_module(path: Path) -> Artifact:
    """Open a SavedModel or Hub module that vit-convert wrote.

    Raises:
        ArtifactError: it was not, it is damaged, or its graph does more than compute; see
            `check_graph`.
    """
    metadata = read_metadata(path)
    tf = import_tensorflow()
    check_graph(path, PROTOBUF)
    try:
        with quiet():
            loaded = tf.saved_model.load(str(path))
        signatures = {name: loaded.signatures[name] for name in ("serving_default", "blocks")}
    except (*_BROKEN, tf.errors.OpError) as error:
        raise ArtifactError(
            "is a SavedModel, but damaged",
            where=str(path),
            expected="an artifact that `vit-convert export` wrote",
            hint="export the model again",
        ) from error
    entry = metadata.spec.input()
    size = metadata.options.batch_size
    static = size if isinstance(size, int) else None

    def function(name: str) -> Run:
        # The default argument keeps `loaded` alive, without which its variables would be gone.
        def run(images: np.ndarray, _owner: Any = loaded) -> Outputs:
            tensors = signatures[name](**{entry.name: tf.constant(images, entry.dtype)})
            return {key: tensor.numpy() for key, tensor in tensors.items()}

        return run

    return metadata.artifact(path, function("serving_default"), function("blocks"), static)
