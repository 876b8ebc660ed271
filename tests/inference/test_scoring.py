"""Many pictures at a time give what each one gives alone."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vit_convert.errors import UsageError
from vit_convert.exporters import Artifact
from vit_convert.exporters.artifact import Outputs, Repeatable
from vit_convert.exporters.tflite.opening import open_file
from vit_convert.images.decoding import ImageError, decode_image, load_image
from vit_convert.images.preprocessing import to_pixels
from vit_convert.images.storage import find_pictures, storage_of
from vit_convert.inference.predict import predict
from vit_convert.inference.running import as_input, softmax
from vit_convert.inference.scoring import Pool, Scores

UNREADABLE = ["empty.png", "text.jpg", "gone.png", "half.png"]


@pytest.fixture(scope="module")
def artifact(model: Path) -> Artifact:
    return open_file(model)


def one_by_one(artifact: Artifact, names: list[str]) -> dict[str, np.ndarray]:
    """The plain loop: the probabilities of each picture that can be read."""
    found = {}
    for name in names:
        try:
            image = load_image(name)
        except ImageError:
            continue
        how = (artifact.spec.config.image_size, artifact.spec.preprocessing)
        logits = artifact.run(as_input(to_pixels(image, *how)[None], artifact))["logits"]
        found[name] = softmax(logits)[0]
    return found


def scored(artifact: Artifact, names: list[str], workers: int, top: int = 3) -> list[Scores]:
    pool = Pool([artifact], top, storage_of([]).read, workers)
    return [scores for chunk in pool.scores(names) for scores in chunk]


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_threads_give_what_a_plain_loop_gives(
    workers: int, artifact: Artifact, pictures: Path
) -> None:
    """To the last bit, in the order of the pictures."""
    names = find_pictures([pictures])
    expected = one_by_one(artifact, names)
    got = scored(artifact, names, workers)
    assert [scores.name for scores in got] == names
    assert len(expected) == len(names) - len(UNREADABLE) == 67
    for scores in got:
        if scores.name not in expected:
            assert scores.problem is not None
            assert scores.classes == ()
            continue
        order = np.argsort(-expected[scores.name], kind="stable")[:3]
        np.testing.assert_array_equal(scores.classes[0], order)
        np.testing.assert_array_equal(scores.probabilities[0], expected[scores.name][order])
    assert sorted(Path(s.name).name for s in got if s.problem) == sorted(UNREADABLE)
    assert len({int(s.classes[0][0]) for s in got if s.classes}) > 1  # not one class for all


def with_run(artifact: Artifact, run: Callable[[np.ndarray], Outputs]) -> Artifact:
    return replace(artifact, run=run)


def test_what_cannot_be_opened_again_computes_one_batch_at_a_time(
    artifact: Artifact, pictures: Path
) -> None:
    """And always the same number of images, because TensorFlow traces each other one anew."""
    busy, sizes = threading.Lock(), []

    def run(images: np.ndarray) -> Outputs:
        assert busy.acquire(blocking=False), "two threads compute at a time"
        try:
            sizes.append(len(images))
            return artifact.run(images)
        finally:
            busy.release()

    names = find_pictures([pictures])
    got = scored(with_run(artifact, run), names, 4)
    plain = scored(artifact, names, 1)
    assert sorted(sizes) == [len(names) - 64, 32, 32]
    for ours, theirs in zip(got, plain, strict=True):
        assert ours.name == theirs.name
        for a, b in zip(ours.probabilities, theirs.probabilities, strict=True):
            np.testing.assert_array_equal(a, b)


def test_an_artifact_is_opened_once_for_each_thread(artifact: Artifact, pictures: Path) -> None:
    assert isinstance(artifact.run, Repeatable)
    opened = []

    def again() -> Callable[[np.ndarray], Outputs]:
        opened.append(1)
        return artifact.run.again()  # type: ignore[attr-defined]  # asserted above

    counted = replace(artifact, run=Repeatable(artifact.run, again))
    scored(counted, find_pictures([pictures]), 3)
    assert len(opened) == 3
    scored(counted, find_pictures([pictures / "ant" / "0.png"]), 3)
    assert len(opened) == 3  # for one picture, what is open computes on all cores


def test_who_stops_asking_stops_the_threads(artifact: Artifact, pictures: Path) -> None:
    before = threading.active_count()
    chunks = Pool([artifact], 3, storage_of([]).read, 3).scores(find_pictures([pictures]) * 50)
    next(chunks)
    chunks.close()  # type: ignore[attr-defined]  # a generator
    assert threading.active_count() == before


def test_an_error_that_is_no_picture_s_ends_the_run(artifact: Artifact, pictures: Path) -> None:
    features = replace(artifact, options=replace(artifact.options, output="features"))
    with pytest.raises(UsageError, match="gives features, not classes"):
        scored(features, find_pictures([pictures]), 2)


def test_python_raises_for_a_picture_that_cannot_be_read(
    artifact: Artifact, pictures: Path
) -> None:
    with pytest.raises(ImageError, match=r"empty\.png"):
        predict(artifact, [pictures])
    found = predict(artifact, [pictures / "ant" / "0.png", pictures / "bee" / "1.png"], top=2)
    assert [each.path.name for each in found] == ["0.png", "1.png"]


def test_filters_of_warnings_are_what_they_were_after_many_threads_decoded(
    pictures: Path,
) -> None:
    data = (pictures / "ant" / "0.png").read_bytes()
    before = list(warnings.filters)
    start = threading.Barrier(8)

    def decode() -> None:
        start.wait()
        for _ in range(40):
            decode_image(data, "picture")

    threads = [threading.Thread(target=decode) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings.filters == before
