"""A SavedModel whose graph does more than compute is not opened, unless it is trusted."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vit_convert.errors import ArtifactError
from vit_convert.exporters import ExportOptions, export, open_artifact
from vit_convert.exporters.graph_trust import TRUST, check_graph

GOLDENS = Path(__file__).parents[1] / "goldens/artifacts_0_1"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    (path,) = export(GOLDENS / "vit.h5", ["saved_model"], folder, ExportOptions())
    return path


Save = Callable[..., None]


@pytest.fixture
def hostile(saved: Path, tmp_path: Path) -> Callable[[Any], Path]:
    """Save any module with our metadata beside it."""
    import tensorflow as tf

    def make(module: Any) -> Path:
        path = tmp_path / "hostile"
        signature = module.call.get_concrete_function(tf.TensorSpec((1, 24, 50, 3), name="images"))
        tf.saved_model.save(module, str(path), {"serving_default": signature, "blocks": signature})
        shutil.copytree(saved / "assets.extra", path / "assets.extra")
        return path

    return make


def writes(folder: Path) -> Any:
    import tensorflow as tf

    class Writes(tf.Module):
        @tf.function
        def call(self, images: Any) -> Any:
            tf.io.write_file(str(folder / "written"), "x")
            return {"logits": images}

    return Writes()


def reads(folder: Path) -> Any:
    import tensorflow as tf

    class Reads(tf.Module):
        @tf.function
        def call(self, images: Any) -> Any:
            return {"logits": tf.strings.length(tf.io.read_file("/etc/passwd"))}

    return Reads()


def looks_up(folder: Path) -> Any:
    import tensorflow as tf

    (folder / "words.txt").write_text("a\nb\n")

    class LooksUp(tf.Module):
        def __init__(self) -> None:
            found = tf.lookup.TextFileInitializer(
                str(folder / "words.txt"), tf.string, 0, tf.int64, 1, delimiter=" "
            )
            keys = tf.constant(["a", "b"])
            self.table = tf.lookup.StaticHashTable(
                tf.lookup.KeyValueTensorInitializer(keys, tf.constant([0, 1], tf.int64)), -1
            )
            self.kept = found

        @tf.function
        def call(self, images: Any) -> Any:
            return {"logits": self.table.lookup(tf.constant(["a"]))}

    return LooksUp()


@pytest.mark.once
def test_our_own_is_opened(saved: Path) -> None:
    check_graph(saved, "saved_model.pb")


@pytest.mark.parametrize(
    ("module", "named"),
    [(writes, "WriteFile"), (reads, "ReadFile"), (looks_up, "HashTableV2")],
    ids=["writes a file", "reads a file", "has a table that is filled when it is opened"],
)
def test_a_graph_with_effects_is_refused_by_name(
    module: Callable[[Path], Any], named: str, hostile: Callable[[Any], Path], tmp_path: Path
) -> None:
    path = hostile(module(tmp_path))
    with pytest.raises(ArtifactError, match=f"more than compute: .*{named}") as caught:
        open_artifact(path)
    assert "--trust" in caught.value.hint
    assert not (tmp_path / "written").exists()


def test_what_is_trusted_is_opened(
    hostile: Callable[[Any], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = hostile(writes(tmp_path))
    monkeypatch.setenv(TRUST, "1")
    assert open_artifact(path).kind == "saved_model"


@pytest.mark.parametrize("content", [b"", b"\xff" * 100, b"\x08\x01"])
def test_a_broken_graph_is_no_crash(content: bytes, saved: Path, tmp_path: Path) -> None:
    path = tmp_path / "broken"
    shutil.copytree(saved, path)
    (path / "saved_model.pb").write_bytes(content)
    with pytest.raises(ArtifactError):
        open_artifact(path)


@pytest.mark.parametrize("size", [0, 100])
def test_missing_values_of_variables_are_no_crash(size: int, saved: Path, tmp_path: Path) -> None:
    path = tmp_path / "broken"
    shutil.copytree(saved, path)
    data = path / "variables/variables.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:size])
    with pytest.raises(ArtifactError, match="damaged"):
        open_artifact(path)
