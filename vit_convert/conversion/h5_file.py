"""The Keras model as a file: an .h5 is written and read with h5py alone, opened with tf-keras; a
.keras archive that Keras saved is read too.

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

from vit_convert.architectures import ModelSpec, Parameter, architecture, architectures
from vit_convert.checkpoint.inert import printable
from vit_convert.checkpoint.lookalikes import looks_like
from vit_convert.checkpoint.tensor import LazyTensor, Tensors
from vit_convert.conversion.h5_reading import H5File
from vit_convert.conversion.keras_archive import (
    datasets_in_archive,
    is_keras_archive,
    unpacked,
)
from vit_convert.errors import ArtifactError, similar_to
from vit_convert.progress import Progress, counted, silent
from vit_convert.runtime.input_file import read_head
from vit_convert.runtime.signals import uninterrupted

_EXPECTED = "an .h5 that torch2keras wrote, or an .h5 or .keras that such a model's `save` wrote"
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
def open_keras(path: Path) -> Iterator[tuple[ModelSpec, dict[str, LazyTensor]]]:
    """The spec and the weights (canonical name -> lazy tensor in PyTorch's layout) of a model that
    `torch2keras` wrote, or that tf-keras saved as .h5 or .keras.

    The tensors can be read inside the `with` block. No code of the file runs.

    Raises:
        ArtifactError: the file is none of these, is of a model that is not vit-convert's alone, or
            damaged, or of a format that this version does not read.
        CheckpointError: a .keras archive is damaged.
    """
    if is_h5(path):
        file = H5File(path)
        spec, _ = _read_config(file.model_config, path)
        names = {p.name: f"model_weights/{p.layer}/{p.keras_path}:0" for p in spec.parameters()}
        yield spec, {p.name: _lazy(file, p, names[p.name], spec, path) for p in spec.parameters()}
    elif is_keras_archive(path):
        with unpacked(path) as (config, weights):
            spec, classes = _read_config(config, path)
            file = H5File(weights, shown=path)
            names = datasets_in_archive(spec.parameters(), classes)
            yield (
                spec,
                {p.name: _lazy(file, p, names[p.name], spec, path) for p in spec.parameters()},
            )
    else:
        raise _not_keras(path)


def is_keras(path: Path) -> bool:
    """Whether the file is one of Keras, of whatever model: HDF5, or a .keras archive."""
    return is_h5(path) or is_keras_archive(path)


def _not_keras(path: Path) -> ArtifactError:
    hint = "vit-convert torch2keras CHECKPOINT"
    if not path.exists():
        what, hint = "there is no such file", similar_to(path) or hint
    else:
        kind = "a folder" if path.is_dir() else looks_like(path)
        what = f"is no readable HDF5 file or .keras archive{f': it is {kind}' if kind else ''}"
        if "checkpoint" in kind:
            hint = f"vit-convert torch2keras {path}"
    return ArtifactError(what, where=str(path), expected=_EXPECTED, hint=hint)


def _read_config(text: bytes | None, path: Path) -> tuple[ModelSpec, dict[str, str]]:
    """The model's description, and its layers' classes by their names where they are told."""
    found: Any = None
    try:
        found = json.loads(text or "{}")
        config = found["config"]
        spec = ModelSpec.from_dict(config["spec"], str(path))
        return spec, dict(config.get("layers", {}))
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        inner = _converted_in(found)
        raise ArtifactError(
            "is a Keras model in which one of vit-convert is a part"
            if inner
            else "is a Keras file, but of no model that vit-convert made",
            where=str(path),
            expected=_EXPECTED,
            hint=f"model.get_layer({inner!r}).save(...), for that part alone"
            if inner
            else "vit-convert torch2keras CHECKPOINT",
        ) from error


def _converted_in(found: Any) -> str:
    """The name of the first layer of a Keras model that is a model of ours; "" for none."""
    classes = {a.keras_model.partition(":")[2] for a in architectures()}
    try:
        for layer in found["config"]["layers"]:
            if layer["class_name"].rpartition(">")[2] in classes:
                return printable(layer["config"]["name"])
    except (LookupError, TypeError, AttributeError):
        pass
    return ""


def _lazy(file: H5File, parameter: Parameter, name: str, spec: ModelSpec, path: Path) -> LazyTensor:
    dataset = file.datasets.get(name)
    numeric = dataset is not None and np.dtype(dataset.dtype).kind in "fiub"
    if dataset is None or not numeric or dataset.shape != parameter.keras_shape:
        found = "nothing" if dataset is None else dataset.shape if numeric else "no numbers"
        raise ArtifactError(
            f"{parameter.keras_path} is damaged or missing: {found}",
            where=str(path),
            expected=f"an array of shape {parameter.keras_shape}",
            hint="convert the checkpoint, or save the model, again",
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
