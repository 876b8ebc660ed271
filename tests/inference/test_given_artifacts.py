"""The public functions take a path or an open artifact, one or several, and refuse anything else
with a reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import vit_convert
from vit_convert import UsageError
from vit_convert.checkpoint import open_checkpoint
from vit_convert.inference.attention import look
from vit_convert.inference.running import prepare
from vit_convert.parity.recorded import record_reference

GOLDEN = Path(__file__).parents[1] / "goldens/dialects/timm-vit/model.pth"
CLASSES = ("ant", "bee", "cat", "dog", "eel")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """vit.h5; float32, maps/ and features/ of it as .tflite; what timm gave; pictures/<class>/."""
    made = tmp_path_factory.mktemp("given")
    stated = vit_convert.Overrides(num_heads=3)
    vit_convert.torch2keras(GOLDEN, made / "vit.h5", overrides=stated, labels=CLASSES)
    for name, options in (
        (".", vit_convert.ExportOptions()),
        ("maps", vit_convert.ExportOptions(attention=True)),
        ("features", vit_convert.ExportOptions(output="features")),
    ):
        (made / name).mkdir(exist_ok=True)
        vit_convert.export(made / "vit.h5", ["tflite"], made / name, options)
    with np.load(GOLDEN.parent / "expected.npz") as given_by_timm:
        images, logits = given_by_timm["images"], given_by_timm["outputs"]
    record_reference(made / "reference.npz", images, logits)
    rng = np.random.default_rng(0)
    for i in range(10):
        home = made / "pictures" / CLASSES[i % 5]
        home.mkdir(parents=True, exist_ok=True)
        small = Image.fromarray(rng.integers(0, 256, (3, 5, 3), np.uint8))
        small.resize((21, 18), Image.Resampling.BICUBIC).save(home / f"{i}.png")
    return made


Call = Callable[[Any, Path], Any]
CALLS: dict[str, tuple[str, Call]] = {
    "predict": (".", lambda given, folder: vit_convert.predict(given, folder / "pictures/ant")),
    "evaluate": (".", lambda given, folder: vit_convert.evaluate(given, folder / "pictures")),
    "verify": (
        ".",
        lambda given, folder: vit_convert.verify(given, reference=folder / "reference.npz"),
    ),
    "benchmark": (".", lambda given, folder: vit_convert.benchmark(given, runs=1, threads=1)),
    "attention": ("maps", lambda given, folder: vit_convert.attention(given, folder / "pictures")),
    "features": (
        "features",
        lambda given, folder: vit_convert.features(given, folder / "pictures"),
    ),
}
VARYING = ("seconds", "images_per_second", "ratio", "peak_memory_bytes", "agreements")


def shown(result: Any) -> Any:
    """A result, or a list of results, without what is another one at each time."""
    if isinstance(result, list):
        return [shown(each) for each in result]
    found = json.loads(result.to_json())
    return {k: v for k, v in found.items() if k not in VARYING and not k.endswith("_ms")}


@pytest.mark.parametrize("name", CALLS)
def test_a_path_or_an_open_artifact_one_or_several(name: str, folder: Path) -> None:
    where, call = CALLS[name]
    path = folder / where / "vit_float32.tflite"
    opened = vit_convert.open_artifact(path)
    alone = call(path, folder)
    assert shown(alone)
    assert shown(call(str(path), folder)) == shown(call(opened, folder)) == shown(alone)
    several = call([str(path), opened], folder)
    assert isinstance(several, list)
    assert [shown(each) for each in several] == 2 * [shown(alone)]
    assert [shown(each) for each in call((each for each in (path,)), folder)] == [shown(alone)]


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "artifacts: cannot be None"),
        (3, "artifacts: cannot be the int 3"),
        (b"vit.tflite", "artifacts: cannot be bytes"),
        ([], "artifacts: there are none"),
        ({"a": 1}, "artifacts: cannot be a dict"),
        (["vit.tflite", None], r"artifacts\[1\]: cannot be None"),
        ([["vit.tflite"]], r"artifacts\[0\]: cannot be a list"),
        (np.zeros((2, 3)), r"artifacts\[0\]: cannot be an array of float64 and shape \(3,\)"),
    ],
)
def test_what_is_no_artifact_is_named_with_what_is_expected(
    given: Any, message: str, name: str, folder: Path
) -> None:
    with pytest.raises(UsageError, match=message) as error:
        CALLS[name][1](given, folder)
    assert "the path of an artifact" in error.value.expected
    assert "open_artifact" in error.value.expected


@pytest.mark.parametrize("name", ["predict", "attention", "features"])
def test_what_is_no_picture_is_said_before_anything_is_opened(name: str) -> None:
    call = getattr(vit_convert, name)
    with pytest.raises(UsageError, match=r"pictures\[1\]: cannot be the float 0.5"):
        call("nowhere.tflite", [b"", 0.5])
    with pytest.raises(vit_convert.ArtifactError, match=r"nowhere\.tflite"):
        call("nowhere.tflite", [b""])


def test_pictures_of_every_kind_in_one_call(folder: Path) -> None:
    path = folder / "pictures/bee/1.png"
    array = np.asarray(Image.open(path))
    given = [str(path), path, Image.open(path), array, path.read_bytes()]
    found = vit_convert.predict(folder / "vit_float32.tflite", given)
    assert [each.name for each in found] == [str(path)] * 3 + ["picture 3", "picture 4"]
    assert found[0].path == path
    assert len({(each.classes, each.probabilities) for each in found}) == 1
    (other,) = vit_convert.predict(folder / "vit_float32.tflite", folder / "pictures/cat/2.png")
    assert other.probabilities != found[0].probabilities


@pytest.mark.slow
def test_a_keras_file_can_be_opened_before(folder: Path) -> None:
    opened = vit_convert.open_artifact(folder / "vit.h5")
    both = [opened, folder / "vit_float32.tflite"]
    keras, tflite = vit_convert.evaluate(both, folder / "pictures")
    assert (keras.kind, tflite.kind) == ("keras", "tflite")
    assert tflite.agreement == 100
    one, other = vit_convert.predict(both, folder / "pictures", top=5)
    for a, b in zip(one, other, strict=True):
        assert a.labels == b.labels
        np.testing.assert_allclose(a.probabilities, b.probabilities, atol=1e-6)
    result = vit_convert.verify(opened, reference=folder / "reference.npz")
    assert result.verdict.word == "equal"


@pytest.mark.slow
def test_a_keras_model_is_told_how_to_become_a_file(folder: Path) -> None:
    model = vit_convert.load_model(folder / "vit.h5")
    with pytest.raises(UsageError, match=r"(?s)cannot be a vit_convert\.models.*model\.save"):
        vit_convert.predict(model, folder / "pictures")  # type: ignore[call-overload]


def test_features_times_the_head_are_the_logits(folder: Path) -> None:
    pictures = folder / "pictures"
    found = vit_convert.features(folder / "features/vit_float32.tflite", pictures)
    values = np.stack([each.values for each in found])
    assert values.shape == (10, 12)
    tensors = open_checkpoint(GOLDEN).tensors
    logits = values @ tensors["head.weight"].read().T + tensors["head.bias"].read()
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    said = vit_convert.predict(folder / "vit_float32.tflite", pictures, top=5)
    for expected, each, name in zip(probabilities, said, found, strict=True):
        assert name.name == each.name
        np.testing.assert_allclose(each.probabilities, expected[list(each.classes)], rtol=1e-4)
    with pytest.raises(UsageError, match="gives logits, not features"):
        vit_convert.features(folder / "vit_float32.tflite", pictures)


def test_attention_is_what_the_artifact_gives(folder: Path) -> None:
    opened = vit_convert.open_artifact(folder / "maps/vit_float32.tflite")
    picture = folder / "pictures/bee/1.png"
    (seen,) = vit_convert.attention(opened, picture, block=0, head=2)
    assert opened.attention is not None
    view = look(opened.spec, opened.attention(prepare([picture], opened)), block=0, head=2)
    np.testing.assert_array_equal(seen.view.saliency, view.saliency)
    found = json.loads(seen.to_json())
    np.testing.assert_allclose(found["saliency"], view.saliency)
    assert np.shape(found["layers"][0]["heads"]) == (3, 4, 4)
    (said,) = vit_convert.predict(opened, picture, top=1)
    assert (seen.label, seen.probability) == (said.labels[0], said.probabilities[0])
    assert seen.png().startswith(b"\x89PNG")


def test_labels_are_names_and_no_text(folder: Path) -> None:
    path = folder / "vit_float32.tflite"
    for labels, message in (("labels.txt", "the str 'labels.txt'"), ([*CLASSES[:4], 5], r"\[4\]")):
        with pytest.raises(UsageError, match=message):
            vit_convert.predict(path, b"", labels=labels)  # type: ignore[arg-type]


@pytest.fixture
def damaged(folder: Path, tmp_path: Path) -> Path:
    """Pictures of each class, of which one cannot be read."""
    for name in CLASSES:
        (tmp_path / name).mkdir()
        Image.new("RGB", (9, 9)).save(tmp_path / name / "1.png")
    (tmp_path / "bee/0.png").write_bytes(b"no picture")
    return tmp_path


def test_pictures_that_cannot_be_read_are_errors_or_warned_of(folder: Path, damaged: Path) -> None:
    path = folder / "vit_float32.tflite"
    with pytest.raises(vit_convert.ImageError, match=r"bee/0\.png"):
        vit_convert.predict(path, damaged)
    with pytest.warns(vit_convert.PictureWarning, match=r"bee/0\.png is not a picture"):
        found = vit_convert.predict(path, damaged, unreadable="warn")
    assert [each.error for each in found] == [None, "is not a picture", None, None, None, None]
    assert (found[1].classes, found[1].labels) == ((), ())
    with pytest.raises(vit_convert.ImageError, match="is not a picture"):
        vit_convert.predict(path, damaged / "bee/0.png", unreadable="warn")
    with pytest.warns(vit_convert.PictureWarning, match="1 of 6 pictures cannot be read"):
        result = vit_convert.evaluate(path, damaged)
    assert result.images == 5


@pytest.mark.parametrize("name", CALLS)
def test_progress_is_a_function(name: str, folder: Path) -> None:
    reports: list[tuple[object, ...]] = []

    def tell(*report: object) -> None:
        reports.append(report)

    where, _ = CALLS[name]
    path = folder / where / "vit_float32.tflite"
    more: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
        "verify": ((), {"reference": folder / "reference.npz"}),
        "benchmark": ((), {"runs": 1, "threads": 1}),
    }
    arguments, keywords = more.get(name, ((folder / "pictures",), {}))
    getattr(vit_convert, name)([path, path], *arguments, progress=tell, **keywords)
    assert reports
    assert all(isinstance(report[0], str) for report in reports)
    counts = [report for report in reports if len(report) >= 3 and report[2]]
    assert any(report[1] == report[2] for report in counts) or name == "verify"
    if name == "verify":
        assert {report[3:5] for report in reports} == {(0, 2), (1, 2)}


def test_other_words_and_numbers_are_refused(folder: Path) -> None:
    path = folder / "vit_float32.tflite"
    wrong: list[Callable[[], object]] = [
        lambda: vit_convert.predict(path, b"", top=0),
        lambda: vit_convert.predict(path, b"", unreadable="skip"),  # type: ignore[call-overload]
        lambda: vit_convert.evaluate(path, folder / "pictures", limit=0),
        lambda: vit_convert.evaluate(path, 3),  # type: ignore[call-overload]
        lambda: vit_convert.verify(path, reference=folder / "reference.npz", delegate="npu"),  # type: ignore[call-overload]
        lambda: vit_convert.export(folder / "vit.h5", "tflite", folder),
    ]
    for call in wrong:
        with pytest.raises(UsageError) as error:
            call()
        assert error.value.expected


@pytest.mark.torch
def test_verify_runs_pictures_of_every_kind(folder: Path) -> None:
    path = folder / "pictures/bee/1.png"
    given = [path, Image.open(path), np.asarray(Image.open(path)), path.read_bytes()]
    result = vit_convert.verify(folder / "vit_float32.tflite", source=GOLDEN, images=given)
    assert (result.num_images, result.verdict.word) == (4, "equal")
    with pytest.raises(UsageError, match="images: cannot be the int 3"):
        vit_convert.verify(path, source=GOLDEN, images=3)  # type: ignore[call-overload]
    with pytest.raises(UsageError, match="images: there are no pictures"):
        vit_convert.verify(folder / "vit_float32.tflite", source=GOLDEN, images=[])


def test_results_have_no_numbers_that_json_lacks(folder: Path) -> None:
    result = vit_convert.verify(folder / "vit_float32.tflite", reference=folder / "reference.npz")
    infinite = replace(result, comparison=replace(result.comparison, relative=float("inf")))
    assert json.loads(infinite.to_json())["comparison"]["relative"] is None
