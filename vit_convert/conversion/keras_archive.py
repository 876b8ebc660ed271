"""The .keras archives that `model.save` of tf-keras writes, read without TensorFlow.

config.json          class names and configurations; ours holds a ModelSpec
model.weights.h5     an array for each weight, at layers/LAYER/MODULE/.../vars/INDEX

LAYER is not the layer's name, but its class and a number; the configuration has the table.
"""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vit_convert.architectures import Parameter
from vit_convert.checkpoint.file_bytes import FileBytes
from vit_convert.checkpoint.zip_archive import ZipArchive
from vit_convert.errors import ArtifactError, CheckpointError
from vit_convert.runtime.input_file import read_head
from vit_convert.runtime.limits import JSON_BYTES

_CONFIG, _WEIGHTS = "config.json", "model.weights.h5"


def is_keras_archive(path: Path) -> bool:
    """Whether the file is a .keras archive, of whatever model."""
    if not path.is_file() or read_head(path, 2) != b"PK":
        return False
    try:
        return {_CONFIG, _WEIGHTS} <= ZipArchive(FileBytes.open(path)).members.keys()
    except CheckpointError:
        return path.suffix == ".keras"  # `unpacked` says what is wrong with it


@contextmanager
def unpacked(path: Path) -> Iterator[tuple[bytes, Path]]:
    """The configuration of a .keras archive, and a file with its weights, which is there as long
    as the `with` block runs.

    Raises:
        CheckpointError: it is damaged, or over a limit.
        ArtifactError: there is no room for the file.
    """
    archive = ZipArchive(FileBytes.open(path))
    JSON_BYTES.check(archive.size(_CONFIG), str(path), error=ArtifactError)
    config = archive.read(_CONFIG, check=True).tobytes()
    scratch = tempfile.TemporaryDirectory(prefix="vit-convert-", ignore_cleanup_errors=True)
    with scratch as folder:
        weights = Path(folder) / _WEIGHTS
        try:
            weights.write_bytes(archive.read(_WEIGHTS, check=True).data)
        except OSError as error:
            raise ArtifactError(
                f"its weights cannot be unpacked: {error.strerror}",
                where=str(path),
                expected=f"room for {archive.size(_WEIGHTS)} bytes in {tempfile.gettempdir()}",
                hint="TMPDIR=FOLDER on a larger disk",
            ) from error
        yield config, weights


def places(classes: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Name of a model's layer -> its LAYER in an archive.

    Args:
        classes: (name, name of its class) of each layer, in the model's order.
    """
    counts: Counter[str] = Counter()
    found = {}
    for name, class_name in classes:
        base = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", class_name)
        base = re.sub(r"([a-z])([A-Z])", r"\1_\2", base).lower()
        found[name] = f"{base}_{counts[base]}" if counts[base] else base
        counts[base] += 1
    return found


def datasets_in_archive(
    parameters: Iterable[Parameter], classes: Mapping[str, Any]
) -> dict[str, str]:
    """Canonical name -> path of the dataset in model.weights.h5.

    Args:
        parameters: of the model.
        classes: name of a layer -> name of its class, as the configuration has it.
    """
    layers = places((name, str(class_name)) for name, class_name in classes.items())
    counts: Counter[str] = Counter()
    found = {}
    for parameter in parameters:
        _, *modules, _ = parameter.keras_path.split("/")
        module = "/".join(["layers", layers.get(parameter.layer, ""), *modules])
        found[parameter.name] = f"{module}/vars/{counts[module]}"
        counts[module] += 1
    return found
