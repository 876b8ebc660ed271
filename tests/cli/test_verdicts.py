"""One verdict on each kind of artifact: table, JSON, report and exit code say the same."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import Command
from families import Family, small_cait, small_vit
from pictures import paint

from vit_convert.checkpoint.tensor import LazyTensor
from vit_convert.conversion.h5_file import write_h5
from vit_convert.errors import QuantisationWarning
from vit_convert.exporters import ExportOptions, export, export_all, open_artifact
from vit_convert.exporters.tflite.model_metadata import add_measured
from vit_convert.parity.recorded import record_reference
from vit_convert.parity.references import LiveReference
from vit_convert.parity.sources.timm_source import TorchReference
from vit_convert.parity.verdict import Word
from vit_convert.parity.verify import verify, verify_artifact

pytestmark = pytest.mark.slow


def undecided(family: Family) -> dict[str, np.ndarray]:
    """Two classes that nearly every picture lies between, so that rounding decides."""
    arrays = family.arrays()
    arrays["head.weight"][1] = arrays["head.weight"][0] + 1e-4 * arrays["head.weight"][2]
    arrays["head.bias"][:2] = 20
    return arrays


def decided(family: Family) -> dict[str, np.ndarray]:
    """One class that no rounding changes."""
    arrays = family.arrays()
    arrays["head.bias"][3] = 20
    return arrays


@dataclass(frozen=True)
class Made:
    """Artifacts of a model in one folder, and the checkpoint source.pth that they come from."""

    folder: Path

    def verify(self, command: Command, artifact: str, *options: Any) -> tuple[int, dict[str, Any]]:
        """What `verify` says in JSON and on a page; both must be of one mind with the table."""
        arguments = ("verify", self.folder / artifact)
        if "--reference" not in options:
            arguments = (*arguments, "--source", self.folder / "source.pth")
        done = command(*arguments, *options, "--json", "--report", "r.html", "--force")
        assert done.code in (0, 1), done.err
        found: dict[str, Any] = json.loads(done.out)
        again = command(*arguments, *options)
        assert again.code == done.code
        said = re.sub(r"\s+", " ", again.out)
        assert re.sub(r"\s+", " ", found["verdict"]["text"])[:60] in said, said
        assert found["passed"] is (done.code == 0)
        page = re.sub(r"<wbr>", "", Path("r.html").read_text())
        badges = re.findall(r'class="badge (good|bad)">([^<]*)<', page)
        assert {colour for colour, _ in badges} == {"good" if done.code == 0 else "bad"}
        assert found["verdict"]["word"] in {text for _, text in badges}
        if not found["verdict"]["word"].startswith("equal"):
            assert "equal to" not in page
        return done.code, found | {"page": page}


def make(folder: Path, family: Family, arrays: dict[str, np.ndarray], count: int = 40) -> Made:
    tensors = {name: LazyTensor.of(name, array) for name, array in arrays.items()}
    write_h5(folder / "model.h5", family.spec, tensors)
    torch.save({k: torch.from_numpy(v) for k, v in arrays.items()}, folder / "source.pth")
    pictures = paint(folder / "pictures", count)
    jobs: list[tuple[str, ExportOptions]] = [
        ("saved_model", ExportOptions()),
        *(("tflite", ExportOptions(precision=p)) for p in ("float32", "float16", "int8-dynamic")),
        *(
            ("tflite", ExportOptions(precision=p, calibration=pictures))
            for p in ("int8", "int16x8")
        ),
    ]  # fmt: skip
    export_all(folder / "model.h5", jobs, folder)
    options = ExportOptions(precision="int8-dynamic", calibration=pictures)
    (folder / "calibrated").mkdir()
    export_all(folder / "model.h5", [("tflite", options)], folder / "calibrated")
    return Made(folder)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Made:
    family = small_vit()
    return make(tmp_path_factory.mktemp("good"), family, decided(family))


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> Made:
    family = small_cait()
    return make(tmp_path_factory.mktemp("bad"), family, undecided(family))


AGREES = r"agrees on 100\.0 % of 20 pictures \(at least 99 asked\)"
VERDICTS: dict[str, tuple[Word, str]] = {
    "model.h5": ("equal", "equal"),
    "model_saved_model": ("equal", "equal"),
    "model_float32.tflite": ("equal", "equal"),
    "model_float16.tflite": ("equal within float16", "equal within float16's rounding"),
    "model_int8-dynamic.tflite": (
        "within rounding",
        r"within int8-dynamic's rounding; agrees on 100\.0 % of 4 generated images, "
        "no pictures were measured",
    ),
    "calibrated/model_int8-dynamic.tflite": ("agrees", AGREES),
    "model_int8.tflite": ("agrees", AGREES),
    "model_int16x8.tflite": ("agrees", AGREES),
}


@pytest.mark.parametrize("artifact", VERDICTS)
def test_a_right_artifact_has_the_verdict_of_its_kind(
    command: Command, good: Made, artifact: str
) -> None:
    code, found = good.verify(command, artifact)
    word, text = VERDICTS[artifact]
    assert (code, found["verdict"]["word"]) == (0, word)
    assert re.fullmatch(text, found["verdict"]["text"])
    if "int" in artifact:
        assert found["made_of"]["relative"] < 1e-5
        assert found["measured"]["images"] == (4 if word == "within rounding" else 20)
        assert "the float32 that it was made of" in found["page"]
    else:
        assert found["measured"] is None


def test_python_warns_of_what_falls_short(bad: Made, tmp_path: Path) -> None:
    options = ExportOptions(
        precision="int8", calibration=bad.folder / "pictures", keep_float="none"
    )
    with pytest.warns(QuantisationWarning, match=r"model_int8\.tflite falls short: agrees on \d"):
        export(bad.folder / "model.h5", ["tflite"], tmp_path, options)


@pytest.mark.parametrize("artifact", ["model_int8.tflite", "model_int16x8.tflite"])
@pytest.mark.parametrize("against", ["source", "reference"])
def test_what_fell_short_when_it_was_exported_falls_short(
    command: Command, bad: Made, artifact: str, against: str
) -> None:
    """On four images of noise nothing of it can be seen."""
    options: tuple[Any, ...] = ()
    if against == "reference":
        family = small_cait()
        model = TorchReference(
            family.spec, {k: LazyTensor.of(k, v) for k, v in undecided(family).items()}
        )
        record_reference("r.npz", family.images(), model.run(family.images()))
        options = ("--reference", "r.npz")
    code, found = bad.verify(command, artifact, *options)
    assert (code, found["verdict"]["word"]) == (1, "falls short")
    match = re.fullmatch(
        r"FALLS SHORT: agrees on (\d+\.\d) % of 20 pictures \(at least 99 asked\)",
        found["verdict"]["text"],
    )
    assert match
    assert float(match[1]) == pytest.approx(found["measured"]["agreement"], abs=0.1)
    assert found["measured"]["agreement"] < 99
    assert found["comparison"]["passed"], "the difference is rounding"
    assert f"{match[1]} %" in found["page"]
    assert "falls short of what is asked" in found["page"]
    assert found["search"] is None
    assert "allowed" not in "".join(re.findall(r"<figure>.*?block.*?</figure>", found["page"])[1:])


def test_export_said_the_same(command: Command, bad: Made) -> None:
    done = command(
        *("export", bad.folder / "model.h5", "--tflite", "--precision", "int8"),
        *("--calibration", bad.folder / "pictures"),
    )
    assert done.code == 1
    found = verify("model_int8.tflite", source=bad.folder / "source.pth")
    assert f"  {found.verdict.text}\n" in done.out
    assert "of fewer than 100 pictures not one may differ" in done.out


def test_pictures_that_are_run_now_are_held_to_the_same(command: Command, bad: Made) -> None:
    """Of a file that was exported without any."""
    pictures = ("--images", bad.folder / "pictures")
    code, found = bad.verify(command, "model_int8-dynamic.tflite", *pictures)
    assert (code, found["verdict"]["word"]) == (1, "falls short")
    assert re.search(
        r"agrees on \d+\.\d % of 40 images \(at least 99 asked\) with its source",
        found["verdict"]["text"],
    )


def test_pictures_that_are_run_now_can_be_enough(command: Command, good: Made) -> None:
    pictures = ("--images", good.folder / "pictures")
    code, found = good.verify(command, "model_int8-dynamic.tflite", *pictures)
    assert (code, found["verdict"]["word"]) == (0, "agrees")
    assert found["verdict"]["text"].startswith("agrees on 100.0 % of 40 images")


def test_a_file_that_does_not_say_what_was_measured_says_so(
    command: Command, good: Made, tmp_path: Path
) -> None:
    """As one of an older version."""
    content = (good.folder / "model_int8.tflite").read_bytes()
    (tmp_path / "old.tflite").write_bytes(content)
    from vit_convert.exporters import describe_artifact

    add_measured(tmp_path / "old.tflite", replace(describe_artifact("old.tflite"), measured=None))
    result = verify("old.tflite", source=good.folder / "source.pth")
    assert result.passed
    said = "within int8's rounding; what export measured is not in the file"
    assert (result.verdict.word, result.verdict.text) == ("within rounding", said)


def wrong_tensors(good: Made, name: str, folder: Path) -> Path:
    """An .h5 of the same model with a tensor negated."""
    family = small_vit()
    arrays = decided(family)
    arrays[name] = -arrays[name]
    path = folder / "wrong.h5"
    write_h5(path, family.spec, {k: LazyTensor.of(k, v) for k, v in arrays.items()})
    return path


def test_a_tolerance_does_not_make_it_equal(command: Command, good: Made, tmp_path: Path) -> None:
    path = wrong_tensors(good, "blocks.1.mlp.fc2.weight", tmp_path)
    result = verify(path, source=good.folder / "source.pth", tolerance=10)
    assert result.passed
    assert result.verdict.word == "within the tolerance"
    assert "equal" not in result.verdict.text
    assert "of 10), beyond float32's rounding" in result.verdict.text
    strict = verify(good.folder / "model.h5", source=good.folder / "source.pth", tolerance=9e-6)
    assert strict.verdict.word == "equal"


def test_what_differs_says_where(command: Command, good: Made, tmp_path: Path) -> None:
    path = wrong_tensors(good, "blocks.1.mlp.fc2.weight", tmp_path)
    result = verify(path, source=good.folder / "source.pth")
    assert (result.verdict.word, result.verdict.text) == ("differs", "DIFFERS: blocks.1")


def test_a_block_that_differs_where_the_output_does_not_is_no_equality(good: Made) -> None:
    """A report shows its blocks, over the line."""
    family = small_vit()
    tensors = {k: LazyTensor.of(k, v) for k, v in decided(family).items()}
    artifact = open_artifact(good.folder / "model.h5")

    def blocks(images: np.ndarray) -> dict[str, np.ndarray]:
        assert artifact.blocks is not None
        found = artifact.blocks(images)
        return found | {"blocks.1": found["blocks.1"] + 0.1 * np.sign(found["blocks.1"])}

    reference = LiveReference(TorchReference(family.spec, tensors), family.images())
    result = verify_artifact(replace(artifact, blocks=blocks), reference, profile=True)
    assert result.comparison.passed
    assert (result.passed, result.verdict.word) == (False, "differs")
    assert result.verdict.text == "DIFFERS: blocks.1, though not the output"
    assert verify_artifact(artifact, reference, profile=True).verdict.word == "equal"


@pytest.mark.parametrize(
    ("names", "heading"),
    [
        (("model.h5", "model_float32.tflite"), "equal to their source"),
        (
            ("model.h5", "model_float16.tflite", "model_int8.tflite"),
            "all pass: 1 equal to their source, 1 equal within float16's rounding, "
            "1 in agreement on pictures",
        ),
    ],
)
def test_the_heading_of_several_says_no_more_than_is_true(
    command: Command, good: Made, names: tuple[str, ...], heading: str
) -> None:
    paths = [good.folder / name for name in names]
    arguments = ("verify", *paths, "--source", good.folder / "source.pth", "--report", "r.html")
    assert command(*arguments).code == 0
    page = Path("r.html").read_text().replace("&#39;", "'")
    assert heading in page
    assert ("equal to their source</span>" in page) is (len(names) == 2)


def test_the_heading_of_several_says_which_fail(command: Command, bad: Made) -> None:
    paths = [bad.folder / name for name in ("model.h5", "model_int8.tflite")]
    arguments = ("verify", *paths, "--source", bad.folder / "source.pth", "--report", "r.html")
    assert command(*arguments).code == 1
    assert "1 of 2 fall short of what is asked" in Path("r.html").read_text()


def test_features_are_similar_or_not(tmp_path: Path) -> None:
    family = small_vit()
    write_h5(tmp_path / "model.h5", family.spec, family.tensors())
    torch.save(family.model.state_dict(), tmp_path / "source.pth")
    pictures = paint(tmp_path / "pictures", 20)
    options = ExportOptions(precision="int8", calibration=pictures, output="features")
    (path,) = export(tmp_path / "model.h5", ["tflite"], tmp_path, options)
    result = verify(path, source=tmp_path / "source.pth")
    assert re.fullmatch(
        r"is similar by 99\.\d % on 10 pictures \(at least 99 asked\)", result.verdict.text
    )
    assert result.passed
