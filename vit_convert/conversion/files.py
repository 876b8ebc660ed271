"""Checkpoint file to Keras file, and back. No TensorFlow, no PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from vit_convert.architectures import ModelSpec, Overrides, Source
from vit_convert.architectures.base import Resampling, Tower
from vit_convert.checkpoint import open_checkpoint, write_safetensors, write_torch
from vit_convert.checkpoint.encoding import rounded
from vit_convert.checkpoint.tensor import Tensors
from vit_convert.conversion.convert import Conversion, convert
from vit_convert.conversion.h5_file import open_keras, write_h5
from vit_convert.dialects import Dialect, rules_of, scheme_of, write_with
from vit_convert.errors import MappingError, UsageError
from vit_convert.progress import Progress, silent
from vit_convert.runtime.atomic_write import atomic_write, check_output, check_space

FloatType = Literal["float32", "float16", "bfloat16"]


def torch2keras(
    checkpoint: str | Path,
    output: str | Path,
    *,
    key: str | None = None,
    overrides: Overrides | None = None,
    labels: Sequence[str] | None = None,
    pos_embed: Resampling | None = None,
    among: Sequence[Dialect] | None = None,
    tower: Tower = "image",
    force: bool = False,
    progress: Progress = silent,
) -> Conversion:
    """Convert a PyTorch checkpoint into a Keras .h5 file.

    Args:
        checkpoint: .pth, .pt, .bin, .safetensors or .npz.
        output: the .h5 to write; it appears whole or not at all.
        key: which nested state dict to take, where the file holds several.
        overrides: what you state of the model.
        labels: class names; by default those that lie beside the checkpoint, or ImageNet's for
            1000 classes.
        pos_embed: how the position embedding is resampled if `overrides.image_size` asks for it; by
            default as the authors of the naming scheme do, or with antialiasing.
        among: the naming schemes to choose from; by default all of the tower.
        tower: of a model of pictures and texts (CLIP, SigLIP), which part.
        force: replace an existing output.
        progress: told what is being done.

    Returns:
        what was recognised, and where each tensor went.

    Raises:
        CheckpointError: the file cannot be read.
        RecognitionError, MappingError: it is no model that is known here, or not a whole one.
        UsageError: options contradict the checkpoint, or the output is no .h5.
        OutputError: the output exists, or cannot be written.

    Warns:
        AssumptionWarning: for each value that nothing confirms; see `Conversion.facts`.
    """
    output = Path(output)
    check_h5_output(output, force)
    conversion = convert(
        open_checkpoint(checkpoint, key),
        overrides,
        labels=labels,
        pos_embed=pos_embed,
        among=among,
        tower=tower,
        progress=progress,
    )
    store_h5(output, conversion.spec, conversion.weights, force, progress)
    return replace(conversion, path=output)


def check_h5_output(output: Path, force: bool) -> None:
    """Check that a Keras .h5 file may be written there.

    Raises:
        UsageError: the name is no .h5's.
        OutputError: as `check_output`.
    """
    check_output(output, force)
    if output.suffix not in (".h5", ".hdf5"):
        raise UsageError(
            f"a Keras .h5 file is written, and the name says {output.suffix or 'nothing'!r}",
            where=str(output),
            expected="a name that ends in .h5",
            hint=f"-o {output.with_suffix('.h5')}",
        )


def store_h5(
    output: Path, spec: ModelSpec, weights: Tensors, force: bool, progress: Progress
) -> None:
    """Write a Keras .h5 file, which appears whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    check_space(output.parent, sum(4 * int(np.prod(t.shape)) for t in weights.values()))
    with atomic_write(output, force) as path:
        write_h5(path, spec, weights, progress)


def keras2torch(
    model: str | Path,
    output: str | Path,
    *,
    dialect_name: str | None = None,
    rules: str | Path | None = None,
    dtype: FloatType | None = None,
    force: bool = False,
) -> str:
    """Convert a Keras .h5 file back into a PyTorch checkpoint: every tensor bit for bit.

    Args:
        model: the .h5.
        output: .safetensors; .pth, .pt or .bin for PyTorch's zip format; or .npz.
        dialect_name: names to use; those of the model's source by default, with its prefix.
        rules: or a rule file whose names to use.
        dtype: round all floating-point tensors to this type; by default each is stored as the
            source had it.
        force: replace an existing output.

    Returns:
        The name of the dialect used.

    Raises:
        ArtifactError: the model cannot be read.
        UsageError: the output's name does not tell its kind, there is no such dialect, or the file
            cannot hold `dtype`.
        MappingError: the dialect has no names for some tensors, or a value is beyond `dtype`.
        OutputError: the output exists, or cannot be written.
    """
    output = Path(output)
    if output.suffix not in (".safetensors", ".pth", ".pt", ".bin", ".npz"):
        raise UsageError(
            f"the kind of file to write is not clear from {output.suffix or 'no suffix'!r}",
            where=str(output),
            expected="a name that ends in .safetensors, .pth, .pt, .bin or .npz",
        )
    if dtype == "bfloat16" and output.suffix == ".npz":
        raise UsageError(
            "NumPy has no bfloat16", where=str(output), expected="float16, or a .safetensors file"
        )
    check_output(output, force)
    with open_keras(Path(model)) as (spec, weights):
        if spec.source.templates:
            raise UsageError(
                "its head was made of words by a text tower, and no checkpoint has such a head",
                where=str(model),
                expected="a model that torch2keras made",
                hint=f"the checkpoint that it was made of, {spec.source.file}",
            )
        if rules:
            scheme = rules_of(rules)
        else:
            scheme = scheme_of(spec.source, dialect_name, spec.architecture)
        own = scheme.name == spec.source.dialect
        source = spec.source if own else Source()
        written = write_with(
            scheme,
            weights,
            source.prefix,
            body=source.body if own else None,
            fills=source.fills,
            config=spec.config,
        )
        tensors = {t.name: t for t in written}
        arrays = {name: tensor.read() for name, tensor in tensors.items()}
        if dtype:
            arrays = {name: _rounded(name, array, dtype) for name, array in arrays.items()}
        dtypes = {
            name: "bfloat16"
            for name, tensor in tensors.items()
            if (dtype or tensor.dtype) == "bfloat16" and _is_bfloat16(arrays[name])
        }
        with atomic_write(output, force) as path:
            if output.suffix == ".safetensors":
                write_safetensors(path, arrays, dtypes, {"format": "pt"})
            elif output.suffix == ".npz":
                with path.open("wb") as file:
                    np.savez(file, **arrays)  # type: ignore[arg-type]  # no array is a flag
            else:
                write_torch(path, arrays, dtypes)
    return scheme.name


def _rounded(name: str, array: np.ndarray, dtype: FloatType) -> np.ndarray:
    """A tensor in another type."""
    try:
        return rounded(array, dtype)
    except ValueError as error:
        raise MappingError(
            f"its value {error}", where=name, expected="--dtype bfloat16 or float32"
        ) from None


def _is_bfloat16(array: np.ndarray) -> bool:
    """Whether each float32 value is a bfloat16: fine-tuned weights of a bfloat16 source are not."""
    if array.dtype != np.float32:
        return False
    return not (np.ascontiguousarray(array).view(np.uint32) & 0xFFFF).any()
