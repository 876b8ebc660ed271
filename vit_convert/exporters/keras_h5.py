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
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from vit_convert.architectures import ModelSpec, Parameter
from vit_convert.checkpoint.lookalikes import looks_like
from vit_convert.checkpoint.tensor import LazyTensor, Tensors
from vit_convert.errors import ArtifactError, similar_to
from vit_convert.exporters.batches import in_batches
from vit_convert.exporters.graph import block_endpoints
from vit_convert.exporters.metadata import Metadata
from vit_convert.exporters.registry import Artifact, ExportOptions, Outputs, Target
from vit_convert.exporters.timing import preparing
from vit_convert.progress import Progress, counted, silent
from vit_convert.tensorflow_quiet import import_tensorflow

if TYPE_CHECKING:
    from vit_convert.models import ConvertedModel

CLASS_NAMES = {"vit": "VisionTransformer", "cait": "CaiT"}
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
    with _PatientFile(path, "w+b") as sink:
        with h5py.File(sink, "w") as file:
            _write_header(file, spec)
            layers = [*_by_layer(spec).items()]
            for layer, parameters in counted(progress, f"writing layers of {path.name}", layers):
                _write_layer(file["model_weights"].create_group(layer), parameters, weights)
                if sink.error:
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
    model = {"class_name": CLASS_NAMES[spec.architecture], "config": config}
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
        ArtifactError: the file is no .h5, or none that vit-convert or its models wrote, or damaged.
    """
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise _not_h5(path) from error
    with file:
        spec = _read_spec(file, path)
        yield spec, {p.name: _lazy(file, p, spec, path) for p in spec.parameters()}


def _not_h5(path: Path) -> ArtifactError:
    hint = "vit-convert torch2keras CHECKPOINT"
    if not path.exists():
        what, hint = "there is no such file", similar_to(path) or hint
    elif _matches(path):
        what, hint = "is an HDF5 file, but truncated or damaged", "convert the checkpoint again"
    else:
        kind = "a folder" if path.is_dir() else looks_like(path)
        what = f"is no readable HDF5 file{f': it is {kind}' if kind else ''}"
        if "checkpoint" in kind:
            hint = f"vit-convert torch2keras {path}"
    return ArtifactError(what, where=str(path), expected="an .h5 that torch2keras wrote", hint=hint)


def _read_spec(file: h5py.File, path: Path) -> ModelSpec:
    try:
        data = json.loads(file.attrs["model_config"])["config"]["spec"]
        return ModelSpec.from_dict(data)
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(
            "is an HDF5 file, but none that vit-convert wrote",
            where=str(path),
            expected="an .h5 that torch2keras wrote, whose model_config has a `spec`",
            hint="vit-convert torch2keras CHECKPOINT",
        ) from error


def _lazy(file: h5py.File, parameter: Parameter, spec: ModelSpec, path: Path) -> LazyTensor:
    dataset = file.get(f"model_weights/{parameter.layer}/{parameter.keras_path}:0")
    if not isinstance(dataset, h5py.Dataset) or dataset.shape != parameter.keras_shape:
        found = dataset.shape if isinstance(dataset, h5py.Dataset) else "nothing"
        raise ArtifactError(
            f"{parameter.keras_path} is damaged or missing: {found}",
            where=str(path),
            expected=f"an array of shape {parameter.keras_shape}",
            hint="convert the checkpoint again",
        )
    dtype = spec.source.dtypes.get(parameter.name, dataset.dtype.name)
    return LazyTensor(
        parameter.name, parameter.shape, dtype, lambda: parameter.from_keras(dataset[()])
    )


def load_model(path: str | Path, dtype: str | None = None) -> ConvertedModel:
    """The tf-keras model of an .h5 file that `torch2keras` wrote.

    Args:
        path: the file.
        dtype: Keras dtype policy, e.g. "mixed_float16"; the global policy by default.

    Returns:
        a model of (n, height, width, channels), normalised, -> (n, classes) logits.

    Raises:
        ArtifactError: see `open_h5`.
    """
    from vit_convert.models import build

    with open_h5(Path(path)) as (spec, weights):
        model = build(spec, dtype=dtype)
        model.assign(_Reading(weights))
    return model


class OpenModel:
    """An .h5 file as the source of artifacts; see `vit_convert.exporters.registry.SourceModel`."""

    def __init__(self, path: Path, spec: ModelSpec, tensors: Tensors) -> None:
        self._path = path
        self.spec = spec
        self.weights: Mapping[str, np.ndarray] = _Reading(tensors)

    @cached_property
    def keras(self) -> ConvertedModel:
        """The Keras model, in float32 whatever the global policy."""
        return load_model(self._path, dtype="float32")


@contextmanager
def open_model(path: Path) -> Iterator[OpenModel]:
    """Open an .h5 file to make artifacts of it.

    Raises:
        ArtifactError: see `open_h5`.
    """
    with open_h5(path) as (spec, tensors):
        yield OpenModel(path, spec, tensors)


class _Reading(Mapping[str, np.ndarray]):
    """Tensors that are read as they are asked for, so that one at a time is in memory."""

    def __init__(self, tensors: Tensors) -> None:
        self._tensors = tensors

    def __getitem__(self, name: str) -> np.ndarray:
        return self._tensors[name].read()

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


def _describe(path: Path) -> Metadata:
    with open_h5(path) as (spec, _):
        return _metadata(spec)


def _metadata(spec: ModelSpec) -> Metadata:
    scale = spec.config.stream_scale
    return Metadata("keras", spec, ExportOptions(), "normalised", ("logits",), scale)


def _open(path: Path) -> Artifact:
    model = load_model(path)
    spec = model.spec
    view = model.view(block_endpoints(model))
    graph = import_tensorflow().function(model)  # several times faster than layer by layer

    def run(images: np.ndarray) -> Outputs:
        return {"logits": graph(images, training=False).numpy()}

    def blocks(images: np.ndarray) -> Outputs:
        return {k: np.asarray(v) for k, v in view(images, training=False).items()}

    def attention(images: np.ndarray) -> Outputs:
        maps = model.view({point: point for point in model.attention_outputs().values()})
        return in_batches(
            lambda part: {
                name: value.numpy()
                for name, value in maps(part, training=False).items()
                if name != "logits"
            },
            images,
        )

    return _metadata(spec).artifact(path, run, blocks, static=None, attention=attention)


def _matches(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(_SIGNATURE)) == _SIGNATURE


KERAS_H5 = Target(
    name="keras",
    title="Keras .h5",
    filename=lambda stem, options: f"{stem}.h5",
    write=None,
    matches=_matches,
    open=_open,
    describe=_describe,
    prepare=preparing(_open),
)
