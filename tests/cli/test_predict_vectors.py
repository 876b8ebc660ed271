"""`predict` of artifacts that give a vector of each picture, and what refuses these."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from families import channels_first, small_vit
from PIL import Image

from vit_convert.architectures import Preprocessing
from vit_convert.conversion.h5_file import write_h5
from vit_convert.exporters import ExportOptions, export
from vit_convert.images.decoding import load_image
from vit_convert.images.preprocessing import preprocess

CommandIn = Callable[..., object]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Embeddings and tokens of a small ViT, and pictures/ with three pictures and a broken one."""
    path = tmp_path_factory.mktemp("vectors")
    family = small_vit()
    write_h5(path / "vit.h5", family.spec, family.tensors())
    for output in ("embedding", "tokens"):
        home = path / output
        home.mkdir()
        export(path / "vit.h5", ["tflite"], home, ExportOptions(output=output))
    (path / "pictures").mkdir()
    rng = np.random.default_rng(0)
    for name in "acd":
        pixels = rng.integers(0, 256, (30, 60, 3), np.uint8)
        Image.fromarray(pixels).save(path / "pictures" / f"{name}.png")
    (path / "pictures" / "b.png").write_bytes(b"no picture")
    return path


@pytest.fixture(scope="module")
def expected(folder: Path) -> np.ndarray:
    """timm's features of the three pictures, of length 1."""
    import torch

    family = small_vit()
    how: Preprocessing = family.spec.preprocessing
    images = np.stack(
        [
            preprocess(
                load_image(folder / "pictures" / f"{n}.png"), family.spec.config.image_size, how
            )
            for n in "acd"
        ]
    )
    with torch.inference_mode():
        tokens = family.model.forward_features(channels_first(images))
        features = family.model.forward_head(tokens, pre_logits=True).numpy()
    return features / np.linalg.norm(features, axis=1, keepdims=True)


ARTIFACT = "embedding/vit_float32.tflite"


def test_a_npy_file_has_a_row_of_each_picture_in_order(
    folder: Path, expected: np.ndarray, command_in: CommandIn, tmp_path: Path
) -> None:
    output = tmp_path / "found.npy"
    done = command_in(folder, "predict", ARTIFACT, "pictures", "-o", str(output))
    assert done.code == 0, done.err
    assert "4 pictures, 1 of them not read, 36 values each" in done.out
    assert "b.png" in done.err
    found = np.load(output)
    assert (found.shape, found.dtype) == ((4, 36), np.float32)
    assert np.isnan(found[1]).all()
    np.testing.assert_allclose(found[[0, 2, 3]], expected, atol=1e-5)


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_rows_have_path_vector_and_error(
    form: str, folder: Path, expected: np.ndarray, command_in: CommandIn, tmp_path: Path
) -> None:
    output = tmp_path / f"found.{form}"
    done = command_in(folder, "predict", ARTIFACT, "pictures", "-o", str(output), "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["pictures"] == 4
    if form == "parquet":
        parquet = pytest.importorskip("pyarrow.parquet")
        rows = parquet.read_table(output).to_pylist()
    else:
        rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert [list(row) for row in rows] == [["path", "embedding", "error"]] * 4
    assert [Path(row["path"]).name for row in rows] == ["a.png", "b.png", "c.png", "d.png"]
    assert rows[1]["embedding"] is None
    assert "picture" in rows[1]["error"]
    vectors = [row["embedding"] for row in rows if row["error"] is None]
    np.testing.assert_allclose(vectors, expected, atol=1e-5)


def test_vectors_are_shown_and_printed(
    folder: Path, expected: np.ndarray, command_in: CommandIn
) -> None:
    done = command_in(folder, "predict", ARTIFACT, "pictures/a.png")
    assert done.code == 0, done.err
    assert "embedding of 36 values" in done.out
    done = command_in(folder, "predict", ARTIFACT, "pictures/a.png", "--json")
    (prediction,) = json.loads(done.out)["predictions"]
    np.testing.assert_allclose(prediction["embedding"], expected[0], atol=1e-5)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("-o", "found.csv"), "vectors are not written as 'csv'"),
        (("--format", "csv"), "vectors are not written as CSV"),
        (("-o", "found.jsonl", "--resume"), "there is no --resume"),
    ],
)
def test_what_vectors_cannot_have_is_refused(
    options: tuple[str, ...], said: str, folder: Path, command_in: CommandIn
) -> None:
    before = sorted(folder.iterdir())
    done = command_in(folder, "predict", ARTIFACT, "pictures", *options)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize("artifact", [ARTIFACT, "tokens/vit_float32.tflite"])
def test_evaluate_and_tokens_are_refused_by_name(
    artifact: str, folder: Path, command_in: CommandIn, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (30, 60)).save(tmp_path / name / "a.png")
    kind = artifact.partition("/")[0]
    done = command_in(folder, "evaluate", artifact, str(tmp_path))
    assert done.code == 2
    assert f"gives {kind}, not classes" in done.err
    if kind == "tokens":
        done = command_in(folder, "predict", artifact, "pictures")
        assert done.code == 2
        assert "gives tokens, not classes" in done.err
        assert "vit-convert features" in done.err


def test_a_block_is_one_of_tokens_and_one_that_there_is(
    folder: Path, command_in: CommandIn
) -> None:
    done = command_in(folder, "export", "vit.h5", "--tflite", "--block", "1", "-o", "no")
    assert done.code == 2
    assert "--output tokens" in done.err
    options = ("--output", "tokens", "--block", "99", "-o", "no")
    done = command_in(folder, "export", "vit.h5", "--tflite", *options)
    assert done.code == 2
    assert "expected: 0 to " in done.err
    assert not (folder / "no").exists()
