"""The Keras model as an .h5 file: written and read with h5py alone, opened with tf-keras.

The layout is that of tf_keras 2 ("legacy" HDF5): attribute `model_config` with class name and
configuration, group `model_weights` with one group per layer in the model's order. The
configuration is the ModelSpec, so the file carries all that there is to know.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from vit_convert.architectures import ModelSpec, Parameter, architecture
from vit_convert.checkpoint.lookalikes import looks_like
from vit_convert.checkpoint.tensor import LazyTensor, Tensors
from vit_convert.conversion.h5_reading import H5File
from vit_convert.errors import ArtifactError, similar_to
from vit_convert.progress import Progress, counted, silent
from vit_convert.runtime.input_file import read_head
from vit_convert.runtime.signals import uninterrupted

_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def write_h5(path: Path, spec: ModelSpec, weights: Tensors, progress: Progress = silent) -> None:
    """Write a model that `tf_keras.models.load_model` opens.

    Args:
        path: where; an existing file is overwritten.
        spec: what the model is.
        weights: canonical name -> tensor in PyTorch's layout, one for each of spec.parameters().
            Each is read, written in its own precision, and let go.
        progress: told how many tensors are written.

    Raises:
        OSError: the file cannot be written.
    """
    # h5py loses the exceptions that it does not expect in what it calls back, those of signals too.
    with uninterrupted() as waiting, _PatientFile(path, "w+b") as sink:
        with h5py.File(sink, "w") as file:
            _write_header(file, spec)
            layers = [*_by_layer(spec).items()]
            for layer, parameters in counted(progress, f"writing layers of {path.name}", layers):
                _write_layer(file["model_weights"].create_group(layer), parameters, weights)
                if sink.error or waiting:
                    break
        if sink.error:
            raise sink.error


class _PatientFile(io.FileIO):
    """A file for HDF5 to write to, that keeps the first error for later.

    HDF5 does not survive a failed write: closing the file fails again for everything that it still
    has cached, and ends in a crash.
    """

    error: OSError | None = None

    def write(self, data: Any) -> int:
        """Write all of `data`, or keep the error."""
        view = memoryview(data).cast("B")
        done = 0
        while self.error is None and done < len(view):
            try:
                done += super().write(view[done:]) or 0
            except OSError as error:
                self.error = error
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        """Set the size, or keep the error."""
        try:
            return super().truncate(size)
        except OSError as error:
            self.error = self.error or error
            return size or 0


def _by_layer(spec: ModelSpec) -> dict[str, list[Parameter]]:
    layers: dict[str, list[Parameter]] = {}
    for parameter in spec.parameters():
        layers.setdefault(parameter.layer, []).append(parameter)
    return layers


def _write_header(file: h5py.File, spec: ModelSpec) -> None:
    config = {"spec": spec.to_dict(), "dtype": "float32", "name": spec.architecture}
    _, _, class_name = architecture(spec.architecture).keras_model.partition(":")
    model = {"class_name": class_name, "config": config}
    file.attrs["model_config"] = json.dumps(model).encode()
    group = file.create_group("model_weights")
    for place in (file, group):
        place.attrs["keras_version"] = "2.15.0"
        place.attrs["backend"] = "tensorflow"
    group.attrs["layer_names"] = np.array([name.encode() for name in _by_layer(spec)])


def _write_layer(group: h5py.Group, parameters: list[Parameter], weights: Tensors) -> None:
    paths = [f"{p.keras_path}:0" for p in parameters]
    group.attrs["weight_names"] = np.array([path.encode() for path in paths])
    for parameter, path in zip(parameters, paths, strict=True):
        array = parameter.to_keras(weights[parameter.name].read())
        group.create_dataset(path, data=np.ascontiguousarray(array))


@contextmanager
def open_h5(path: Path) -> Iterator[tuple[ModelSpec, dict[str, LazyTensor]]]:
    """The spec and the weights (canonical name -> lazy tensor in PyTorch's layout) of an .h5 file.

    The tensors can be read inside the `with` block.

    Raises:
        ArtifactError: the file is no .h5, or none that vit-convert or its models wrote, or damaged,
            or of a format that this version does not read.
    """
    if not is_h5(path):
        raise _not_h5(path)
    file = H5File(path)
    spec = _read_spec(file, path)
    yield spec, {p.name: _lazy(file, p, spec, path) for p in spec.parameters()}


def _not_h5(path: Path) -> ArtifactError:
    hint = "vit-convert torch2keras CHECKPOINT"
    if not path.exists():
        what, hint = "there is no such file", similar_to(path) or hint
    else:
        kind = "a folder" if path.is_dir() else looks_like(path)
        what = f"is no readable HDF5 file{f': it is {kind}' if kind else ''}"
        if "checkpoint" in kind:
            hint = f"vit-convert torch2keras {path}"
    return ArtifactError(what, where=str(path), expected="an .h5 that torch2keras wrote", hint=hint)


def _read_spec(file: H5File, path: Path) -> ModelSpec:
    try:
        data = json.loads(file.model_config or "{}")["config"]["spec"]
        return ModelSpec.from_dict(data, str(path))
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ArtifactError(
            "is an HDF5 file, but none that vit-convert wrote",
            where=str(path),
            expected="an .h5 that torch2keras wrote, whose model_config has a `spec`",
            hint="vit-convert torch2keras CHECKPOINT",
        ) from error


def _lazy(file: H5File, parameter: Parameter, spec: ModelSpec, path: Path) -> LazyTensor:
    name = f"model_weights/{parameter.layer}/{parameter.keras_path}:0"
    dataset = file.datasets.get(name)
    numeric = dataset is not None and np.dtype(dataset.dtype).kind in "fiub"
    if dataset is None or not numeric or dataset.shape != parameter.keras_shape:
        found = "nothing" if dataset is None else dataset.shape if numeric else "no numbers"
        raise ArtifactError(
            f"{parameter.keras_path} is damaged or missing: {found}",
            where=str(path),
            expected=f"an array of shape {parameter.keras_shape}",
            hint="convert the checkpoint again",
        )
    dtype = spec.source.dtypes.get(parameter.name, np.dtype(dataset.dtype).name)
    return LazyTensor(
        parameter.name, parameter.shape, dtype, lambda: parameter.from_keras(file.read(name))
    )


class ReadTensors(Mapping[str, np.ndarray]):
    """Tensors that are read as they are asked for, so that one at a time is in memory."""

    def __init__(self, tensors: Tensors) -> None:
        self._tensors = tensors

    def __getitem__(self, name: str) -> np.ndarray:
        return self._tensors[name].read()

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


def is_h5(path: Path) -> bool:
    """Whether the file begins as HDF5 files do."""
    if not path.is_file():
        return False
    return read_head(path, len(_SIGNATURE)) == _SIGNATURE
