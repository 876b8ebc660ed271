"""One inference, ready to be timed, of the artifacts that TensorFlow runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from vit_convert.architectures.text.examples import example_tokens
from vit_convert.exporters.artifact import Artifact, Inference
from vit_convert.runtime.quiet_tensorflow import import_tensorflow


def preparing(open_artifact: Callable[[Path], Artifact]) -> Callable[[Path, int], Inference]:
    """`Target.prepare` of a target whose artifacts TensorFlow runs and `open_artifact` opens."""

    def prepare(path: Path, threads: int) -> Inference:
        threading = import_tensorflow().config.threading
        threading.set_intra_op_parallelism_threads(threads)
        threading.set_inter_op_parallelism_threads(threads)
        artifact = open_artifact(path)
        size = artifact.options.batch_size
        batch = size if isinstance(size, int) else 1
        spec = artifact.spec
        if spec.input().kind == "tokens":
            images = example_tokens(spec.config, batch)
        else:
            images = np.random.default_rng(0).random((batch, *spec.input().shape), np.float32)
        if artifact.input_range == "0..255":
            images *= 255
        return Inference(lambda: artifact.run(images), batch)

    return prepare
