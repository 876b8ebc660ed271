"""TF Hub: a reusable SavedModel that `hub.load` calls and `hub.KerasLayer` fine-tunes.

The object has what https://www.tensorflow.org/hub/reusable_saved_models asks for: `__call__(inputs,
training=False)`, `variables`, `trainable_variables`, `regularization_losses`. Images follow the TF
Hub convention, float32 RGB in 0..1; mean and std are applied inside.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
    module = TensorFlowModule(model.keras, options, "0..1")

    def call(inputs: Any, training: bool = False) -> Any:
        return module.plain(inputs, training)

    function = import_tensorflow().function(call, autograph=False)
    for training in (False, True):
        function.get_concrete_function(module.images, training=training)
    module.root.__call__ = function
    module.signatures["default"] = module.signatures["serving_default"]
    module.save(path, HUB.name)


HUB = Target(
    name="hub",
    title="TF Hub module",
    filename=lambda stem, options: f"{stem}_hub",
    write=_write,
    matches=lambda path: is_saved_model(path) and is_ours(path, "hub"),
    open=open_module,
    describe=read_metadata,
    prepare=preparing(open_module),
    folder_with=PROTOBUF,
)
