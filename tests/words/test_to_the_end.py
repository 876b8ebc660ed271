"""A classifier that was made of words goes wherever a classifier goes: to a phone's file, to
pictures with and without labels, and into the browser."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from words.towers import IMAGE, made, token_ids

import vit_convert
from vit_convert.browser.runtime import runtime_files
from vit_convert.cli import cli

CLASSES = ("bird", "great crane", "cat")
COUNT = 8
# what a config.json without preprocessor_config.json is taken to mean
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, np.ndarray, list[Path]]:
    """A CLIP's folder, one with pictures in class folders, and of each picture the probabilities
    that transformers gives it and its path. All pictures but the first lie where transformers puts
    them."""
    folder = tmp_path_factory.mktemp("to_the_end")
    model, tokenizer = made("clip", folder / "clip")
    side = IMAGE["image_size"]
    pixels = np.random.default_rng(5).integers(0, 256, (COUNT, side, side, 3), np.uint8)
    images = ((pixels / 255 - MEAN) / STD).astype(np.float32)
    ids = token_ids("clip", tokenizer, [f"a photo of a {name}." for name in CLASSES])
    with torch.inference_mode():
        inputs = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
        logits = model(input_ids=ids, pixel_values=inputs).logits_per_image
    probabilities = logits.softmax(dim=-1).numpy()
    paths = []
    for i, best in enumerate(probabilities.argmax(axis=1)):
        home = folder / "pictures" / CLASSES[best if i else (best + 1) % 3]
        home.mkdir(parents=True, exist_ok=True)
        paths.append(home / f"{i}.png")
        Image.fromarray(pixels[i]).save(paths[-1])
    return folder / "clip", folder / "pictures", probabilities, paths


def close(names: Any, found: Any, expected: np.ndarray) -> bool:
    """Whether classes come best first, with transformers' probabilities."""
    order = np.argsort(-expected)
    labels = [CLASSES[index] for index in order]
    return list(names) == labels and bool(np.allclose(found, expected[order], atol=2e-5))


def test_on_the_command_line(
    clip: tuple[Path, Path, np.ndarray, list[Path]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source, pictures, probabilities, paths = clip
    monkeypatch.chdir(tmp_path)

    def ran(*arguments: str | Path) -> str:
        result = CliRunner().invoke(cli, [*map(str, arguments)])
        assert result.exit_code == 0, result.output
        return result.stdout

    named = [part for name in CLASSES for part in ("--class", name)]
    ran("zero-shot", source, *named, "-o", "words.h5")
    ran("export", "words.h5", "--tflite", "--output", "softmax")
    file = "words_float32.tflite"
    said = json.loads(ran("predict", file, *paths, "--json"))
    rows = next(value for value in said.values() if isinstance(value, list) and len(value) == COUNT)
    for row, expected in zip(rows, probabilities, strict=True):
        assert close(row["labels"], row["probabilities"], expected)
    (scored,) = json.loads(ran("evaluate", file, pictures, "--json"))["artifacts"]
    assert scored["images"] == COUNT
    assert scored["top1"] == pytest.approx(100 * (COUNT - 1) / COUNT)
    ran("web", file, "-o", "page")
    assert Path("page/model.tflite").read_bytes() == Path(file).read_bytes()
    assert [*json.loads(Path("page/model.json").read_text())["labels"]] == [*CLASSES]
    assert (Path("page/litert") / next(iter(runtime_files()))).is_file()


def test_in_python(clip: tuple[Path, Path, np.ndarray, list[Path]], tmp_path: Path) -> None:
    source, pictures, probabilities, paths = clip
    made = vit_convert.zero_shot(source, CLASSES, tmp_path / "words.h5")
    (file,) = vit_convert.export(made.path, ["tflite"], tmp_path)
    for found, expected in zip(vit_convert.predict(file, paths), probabilities, strict=True):
        assert close(found.labels, found.probabilities, expected)
    assert vit_convert.evaluate(file, pictures).top1 == pytest.approx(100 * (COUNT - 1) / COUNT)
    page = vit_convert.web(file, tmp_path / "page")
    assert json.loads((page.folder / "model.json").read_text())["labels"] == [*CLASSES]
