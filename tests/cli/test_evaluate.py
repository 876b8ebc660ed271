"""vit-convert evaluate."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from commands import CLASSES, Command
from families import small_vit
from PIL import Image

from vit_convert.conversion.h5_file import write_h5
from vit_convert.exporters import open_artifact
from vit_convert.images.decoding import load_image
from vit_convert.images.folders import ImageFolder
from vit_convert.images.preprocessing import preprocess
from vit_convert.inference.evaluate import evaluate
from vit_convert.labels.names import imagenet1k, imagenet1k_synsets


@pytest.fixture(scope="module")
def truth(project: Path) -> tuple[np.ndarray, np.ndarray]:
    """(class, timm's logits) of every readable picture, in the folder's order."""
    family, folder = small_vit(), ImageFolder(project / "pictures")
    items = [item for item in folder if item[0].name != "broken.png"]
    images = [preprocess(load_image(p), (24, 50), family.spec.preprocessing) for p, _ in items]
    classes = [folder.classes.index(name) for _, name in items]
    return np.array(classes), family.logits(np.stack(images))


def test_numbers_are_those_of_timms_logits(
    command: Command, project: Path, truth: tuple[np.ndarray, np.ndarray]
) -> None:
    classes, logits = truth
    done = command("evaluate", project / "vit_float32.tflite", project / "pictures", "--json")
    assert done.code == 0, done.err
    (found,) = json.loads(done.out)["artifacts"]
    guesses = logits.argmax(axis=1)
    best = np.argsort(-logits, axis=1)[:, :5]
    assert found["images"] == 14
    assert found["top1"] == pytest.approx(100 * (guesses == classes).mean())
    assert found["top5"] == pytest.approx(100 * (best == classes[:, None]).any(axis=1).mean())
    for each in found["classes"]:
        of_it = classes == each["index"]
        assert each["images"] == of_it.sum()
        assert each["accuracy"] == pytest.approx(100 * (guesses[of_it] == each["index"]).mean())
    names = [each["name"] for each in found["classes"]]
    pairs = {(p["class"], p["taken_for"]): p["images"] for p in found["confusion"]}
    expected: dict[tuple[str, str], int] = {}
    for true, guess in zip(classes, guesses, strict=True):
        key = (names[true], names[guess])
        expected[key] = expected.get(key, 0) + 1
    assert pairs == expected
    assert [name.rpartition("/")[2][:10] for name in found["unreadable"]] == ["broken.png"]


def test_the_text_lists_classes_and_what_cannot_be_read(command: Command, project: Path) -> None:
    done = command("--verbose", "evaluate", project / "vit_float32.tflite", project / "pictures")
    assert done.code == 0, done.err
    for name in ("ant", "gnu", "images/s", "top-5 %"):
        assert name in done.out
    assert "broken.png" in done.err
    assert "evaluating: pictures, 0 of 15" in done.err


def test_agreement_is_between_every_two(project: Path) -> None:
    one = open_artifact(project / "vit_float32.tflite")
    contrary = replace(one, run=lambda images: {k: -v for k, v in one.run(images).items()})
    results = evaluate([one, contrary, one], project / "pictures")
    assert [r.agreements for r in results] == [(100, 0, 100), (0, 100, 0), (100, 0, 100)]
    assert [r.agreement for r in results] == [100, 0, 100]


def test_the_confusion_matrix_is_drawn_on_request(command: Command, project: Path) -> None:
    arguments = ("evaluate", project / "vit_float32.tflite", project / "pictures")
    assert command(*arguments, "--confusion", "confusion.png").code == 0
    with Image.open("confusion.png") as image:
        assert image.format == "PNG"
        assert min(image.size) > 300
    before = Path("confusion.png").read_bytes()
    done = command(*arguments, "--confusion", "confusion.png")
    assert (done.code, done.out) == (2, "")
    assert Path("confusion.png").read_bytes() == before
    assert command(*arguments, "--limit", "3", "--confusion", "confusion.png", "--force").code == 0
    assert Path("confusion.png").read_bytes() != before


def test_folders_may_have_the_ids_of_wordnet(tmp_path: Path, project: Path) -> None:
    (tmp_path / imagenet1k_synsets()[7]).mkdir()
    Image.new("RGB", (9, 9)).save(tmp_path / imagenet1k_synsets()[7] / "a.png")
    artifact = open_artifact(project / "vit_float32.tflite")
    logits = np.eye(1000, dtype=np.float32)[7:8]
    spec = replace(artifact.spec.with_config(num_classes=1000), labels=imagenet1k())
    knowing = replace(artifact, spec=spec, run=lambda images: {"logits": logits})
    (result,) = evaluate([knowing], tmp_path)
    assert result.top1 == 100


def test_artifacts_may_take_pictures_of_different_sizes(
    command: Command, project: Path, truth: tuple[np.ndarray, np.ndarray]
) -> None:
    """Each has its own preprocessing: what one is told does not depend on the other."""
    family = small_vit(image_size=(36, 40))
    write_h5(Path("larger.h5"), replace(family.spec, labels=CLASSES), family.tensors())
    artifacts = ("larger.h5", project / "vit_float32.tflite")
    done = command("evaluate", *artifacts, project / "pictures", "--json")
    assert done.code == 0, done.err
    larger, usual = json.loads(done.out)["artifacts"]
    classes, logits = truth
    assert usual["top1"] == pytest.approx(100 * (logits.argmax(axis=1) == classes).mean())
    items = [item for item in ImageFolder(project / "pictures") if item[0].name != "broken.png"]
    how = family.spec.preprocessing
    images = np.stack([preprocess(load_image(path), (36, 40), how) for path, _ in items])
    guesses = family.logits(images).argmax(axis=1)
    assert larger["top1"] == pytest.approx(100 * (guesses == classes).mean())
    assert usual["agreement"] == pytest.approx(100 * (guesses == logits.argmax(axis=1)).mean())
    assert len(larger["unreadable"]) == len(usual["unreadable"]) == 1


def test_every_file_that_cannot_be_read_is_listed(command: Command, project: Path) -> None:
    for name in ("bee", "cat"):
        shutil.copytree(project / "pictures" / name, Path("mixed", name))
    whole = (project / "pictures/cat/2.png").read_bytes()
    Path("mixed/cat/half.png").write_bytes(whole[: len(whole) // 2])
    Path("mixed/cat/empty.jpg").touch()
    Path("mixed/bee/gone.jpg").symlink_to("nowhere")
    done = command("evaluate", project / "vit_float32.tflite", "mixed")
    assert done.code == 0, done.err
    warned = [line for line in done.err.splitlines() if line.startswith("warning")]
    assert len(warned) == 3
    for name, line in zip(("bee/gone.jpg", "cat/empty.jpg", "cat/half.png"), warned, strict=True):
        assert line.startswith(f"warning: not read: mixed/{name}: ")


def picture(path: str) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (9, 9)).save(path)


def none_at_all() -> None:
    Path("folder").mkdir()


def none_in_subfolders() -> None:
    picture("folder/1.png")


def none_that_can_be_read() -> None:
    Path("folder/ant").mkdir(parents=True)
    Path("folder/ant/1.png").touch()


def an_unknown_class() -> None:
    for name in (*CLASSES[:6], "wolf"):  # seven, as the model has: their order must not decide
        picture(f"folder/{name}/1.png")


def only_unknown_classes() -> None:
    for name in ("wolf", "yak"):
        picture(f"folder/{name}/1.png")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (none_at_all, ("holds no labelled pictures", "one subfolder per class", "folder/cat/1")),
        (none_in_subfolders, ("holds no labelled pictures", "one subfolder per class")),
        (none_that_can_be_read, ("none of its 1 pictures can be read", "is not a picture")),
        (an_unknown_class, ("no class of the name wolf", "ant, bee, cat, ...", "folder/wolf")),
        (only_unknown_classes, ("has 2 subfolders", "wolf, yak", "7 subfolders", "ant, bee")),
    ],
)
def test_a_folder_that_does_not_fit_is_refused(
    make: Callable[[], None], says: tuple[str, ...], command: Command, project: Path
) -> None:
    make()
    done = command("evaluate", project / "vit_float32.tflite", "folder", "--confusion", "c.png")
    assert (done.code, done.out) == (2, "")
    for each in says:
        assert each in done.err
    assert not Path("c.png").exists()
