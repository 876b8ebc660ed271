"""SavedModel, for TensorFlow, TF Serving and Keras 3's TFSMLayer.

Signatures (TF Serving; `tf.saved_model.load(path).signatures[...]`), images -> {output: tensor}:

    serving_default, serve   float32; int32 `tokens` of a text tower
    serve_uint8              uint8, where preprocessing is embedded
    blocks                   the tokens after each block, for finding where a difference begins

The attribute `serve`, which `keras.layers.TFSMLayer(path)` calls, gives what `model.export` of
Keras 3 would: the tensor itself where there is one output, a dict of tensors with attention maps.
It takes float32 and, where preprocessing is embedded, uint8 as well.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vit_convert.exporters.graph import input_spec
from vit_convert.exporters.options import ExportOptions
from vit_convert.exporters.registry import SourceModel, Target
from vit_convert.exporters.tf_module import (
    PROTOBUF,
    TensorFlowModule,
    is_ours,
    is_saved_model,
    open_module,
    read_metadata,
)
from vit_convert.exporters.timing import preparing
from vit_convert.progress import Progress
from vit_convert.runtime.quiet_tensorflow import import_tensorflow


def _write(model: SourceModel, path: Path, options: ExportOptions, progress: Progress) -> None:
    tf = import_tensorflow()
    embedded = options.embed_preprocessing
    module = TensorFlowModule(model.keras, options, "0..255" if embedded else "normalised")

    def serve(images: Any) -> Any:
        return module.plain(tf.cast(images, model.spec.input().dtype))

    def serve_uint8(images: Any) -> Any:
        return module.graph(tf.cast(images, tf.float32))

    module.root.serve = tf.function(serve, autograph=False)
    module.root.serve.get_concrete_function(module.images)
    module.signatures["serve"] = module.signatures["serving_default"]
    if embedded:
        images = input_spec(model.spec, module.images.shape[0], "uint8")
        module.root.serve.get_concrete_function(images)
        function = tf.function(serve_uint8, autograph=False)
        module.signatures["serve_uint8"] = function.get_concrete_function(images)
    module.save(path, SAVED_MODEL.name)


def _matches(path: Path) -> bool:
    """Any SavedModel but our Hub modules: a foreign one is refused on opening, with the reason."""
    return is_saved_model(path) and not is_ours(path, "hub")


SAVED_MODEL = Target(
    name="saved_model",
    title="SavedModel",
    filename=lambda stem, options: f"{stem}_saved_model",
    write=_write,
    matches=_matches,
    open=open_module,
    describe=read_metadata,
    prepare=preparing(open_module),
    folder_with=PROTOBUF,
)
