"""A .keras archive of a stranger: no code in it runs, only its weights are unpacked, and nothing of
them is left behind."""

from __future__ import annotations

import io
import json
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from confined import Confined

from vit_convert.conversion.h5_file import open_keras
from vit_convert.errors import VitConvertError

sys.path.append(str(Path(__file__).parents[2] / "scripts"))
from fuzzing.corpus import keras_archive

CONFIG, WEIGHTS = "config.json", "model.weights.h5"


@pytest.fixture
def confined() -> Iterator[Confined]:
    process = Confined()
    yield process
    process.close()


def members() -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(keras_archive())) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def written(path: Path, content: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return path


def config(change: Any) -> bytes:
    return json.dumps(change(json.loads(members()[CONFIG]))).encode()


def read(path: Path) -> None:
    with open_keras(path) as (_, tensors):
        for tensor in tensors.values():
            tensor.read()


def refused(path: Path) -> str:
    """Return the message about an archive that is refused; nothing of it may be left behind."""
    before = set(Path(tempfile.gettempdir()).glob("vit-convert-*"))
    with pytest.raises(VitConvertError) as caught:
        read(path)
    assert set(Path(tempfile.gettempdir()).glob("vit-convert-*")) <= before
    return caught.value.message()


def test_an_honest_one_is_read_within_the_limits(tmp_path: Path, confined: Confined) -> None:
    path = written(tmp_path / "x.keras", members())
    with open_keras(path) as (spec, tensors):
        assert {name: t.read().shape for name, t in tensors.items()} == {
            p.name: p.shape for p in spec.parameters()
        }
    outcome = confined.run("h5", path)
    assert (outcome.kind, outcome.problems) == ("read", [])


CODE = {
    "class_name": "__lambda__",
    "config": {"value": "4wAAAAAAAAAAAAAAAAEAAAA=\n", "defaults": None, "closure": None},
}


@pytest.mark.parametrize(
    "layer",
    [
        {"class_name": "Lambda", "config": {"name": "evil", "function": CODE}},
        {"class_name": "evil", "module": "os", "registered_name": "system", "config": {}},
        {"class_name": "function", "config": "system", "module": "os", "registered_name": "x"},
    ],
)
def test_no_code_and_no_class_of_it_is_looked_at(
    layer: dict[str, Any], tmp_path: Path, confined: Confined
) -> None:
    """Not where it stands beside our model, and not where it is the model."""
    evil = {"class_name": "Functional", "config": {"layers": [layer]}, "module": "os"}
    alone = written(tmp_path / "alone.keras", members() | {CONFIG: json.dumps(evil).encode()})
    assert "none that vit-convert wrote" in refused(alone)
    beside = config(lambda found: found | {"compile_config": layer, "build_config": layer})
    path = written(tmp_path / "beside.keras", members() | {CONFIG: beside})
    for each, kind in ((alone, "refused"), (path, "read")):
        outcome = confined.run("h5", each)
        assert (outcome.kind, outcome.problems) == (kind, [])


def test_only_its_weights_are_unpacked(tmp_path: Path, confined: Confined) -> None:
    (tmp_path / "in").mkdir()
    more = {"../evil": b"x", "/tmp/vit_convert_evil": b"x", "assets/evil.py": b"x"}
    path = written(tmp_path / "in" / "x.keras", members() | more)
    outcome = confined.run("h5", path)
    assert (outcome.kind, outcome.problems) == ("read", [])
    assert [p.name for p in tmp_path.rglob("*")] == ["in", "x.keras"]
    assert not Path("/tmp/vit_convert_evil").exists()


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
def test_what_unpacks_to_much_more_than_there_is(
    name: str, tmp_path: Path, confined: Confined
) -> None:
    content = members() | {name: bytes(200 << 20)}
    path = written(tmp_path / "x.keras", content, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 2 << 20
    outcome = confined.run("h5", path)
    assert (outcome.kind, outcome.problems) == ("refused", [])
    assert "over the limit" in outcome.message


def test_weights_that_lie_in_another_file(tmp_path: Path) -> None:
    np.arange(8.0).tofile(tmp_path / "secret")
    content = members()
    weights = io.BytesIO(content[WEIGHTS])
    with h5py.File(weights, "r+") as file:
        name = next(iter(file["layers"]))
        del file["layers"][name]
        file["layers"][name] = h5py.ExternalLink(str(tmp_path / "secret"), "/x")
    path = written(tmp_path / "x.keras", content | {WEIGHTS: weights.getvalue()})
    assert "a link to the file" in refused(path)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda found: [found], "none that vit-convert wrote"),
        (lambda found: found | {"config": {"spec": 3}}, "none that vit-convert wrote"),
        (lambda found: found["config"].update(layers=3) or found, "none that vit-convert wrote"),
        (lambda found: found["config"].update(layers={}) or found, "is damaged or missing"),
    ],
)
def test_a_configuration_that_makes_no_sense(change: Any, says: str, tmp_path: Path) -> None:
    path = written(tmp_path / "x.keras", members() | {CONFIG: config(change)})
    assert says in refused(path)


def test_every_changed_byte_of_the_weights_is_noticed(tmp_path: Path) -> None:
    """They are stored, not deflated; their checksum tells."""
    whole = keras_archive()
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        start = archive.getinfo(WEIGHTS).header_offset + 30 + len(WEIGHTS)
        size = archive.getinfo(WEIGHTS).file_size
    for place in np.linspace(start, start + size - 1, 12).astype(int):
        content = bytearray(whole)
        content[place] ^= 4
        (tmp_path / "x.keras").write_bytes(content)
        assert "is damaged" in refused(tmp_path / "x.keras")


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    whole = keras_archive()
    for length in np.linspace(0, len(whole) - 1, 25).astype(int):
        (tmp_path / "x.keras").write_bytes(whole[:length])
        refused(tmp_path / "x.keras")
