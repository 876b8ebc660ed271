"""scripts/measure_published_sizes: its tables, and what it ends with."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

pytestmark = [pytest.mark.torch, pytest.mark.slow, pytest.mark.once]  # as the script is


@pytest.fixture(scope="module", autouse=True)
def scripts_on_the_path() -> Iterator[None]:
    sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
    yield
    sys.path.pop(0)


def test_small_models_of_each_kind_are_equal(
    capsys: pytest.CaptureFixture[str], driver: object
) -> None:
    from measure_published_sizes import LIMIT, main

    with pytest.raises(SystemExit) as ended:
        main(["--tiny", "--classes", "3", "--repeats", "1", "--json"])
    assert ended.value.code == 0
    found = json.loads(capsys.readouterr().out)
    (words,) = found["zero_shot"]
    assert words["classes"] == 3
    assert words["seconds"] > 0
    rows = found["artifacts"]
    assert [row["output"] for row in rows] == ["logits", "embedding", "depth", "depth"]
    for row in rows:
        assert row["on_gpu"] == row["operations"] > 90
        assert all(0 < row[where] <= LIMIT for where in ("keras", "saved_model", "tflite", "gpu"))


def test_a_difference_or_a_refusal_is_not_good() -> None:
    from measure_published_sizes import Artifacts, Words, as_markdown, good

    row = Artifacts("m", "logits", 1e-6, 1e-6, 1e-6, 1e-6, 9, 9)

    def judged(row: Artifacts, words: float = 1e-6, gpu: bool = True) -> bool:
        return good({"zero_shot": [Words(3, 1.0, words)], "artifacts": [row]}, gpu)

    assert judged(row)
    assert not judged(row, words=2e-5)
    assert not judged(replace(row, saved_model=float("nan")))
    refused = replace(row, gpu=None, on_gpu=8)
    assert not judged(refused)
    assert judged(replace(row, gpu=None, on_gpu=None, operations=None), gpu=False)
    assert "| - | 8 of 9 |" in as_markdown({"zero_shot": [], "artifacts": [refused]})
