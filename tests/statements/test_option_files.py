"""Files of options, and what options can be: the same everywhere that they are stated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vit_convert import Overrides, read_options, torch2keras
from vit_convert.architectures import ModelSpec
from vit_convert.architectures.base import CHOICES, Preprocessing
from vit_convert.checkpoint import open_checkpoint
from vit_convert.conversion.convert import convert, recognise
from vit_convert.dialects import rules_of
from vit_convert.errors import CheckpointError, UsageError
from vit_convert.hf_config import read_sidecars
from vit_convert.statements.option_file import OPTIONS
from vit_convert.statements.option_template import options_template

GOLDENS = Path(__file__).parent.parent / "goldens" / "dialects"
RULES = '[rename]\n"mine.{i}.w" = "blocks.{i}.norm1.weight"\n\n[values]\n'


def write(folder: Path, text: str) -> Path:
    path = folder / "options.toml"
    path.write_text(text)
    return path


def toml(value: Any) -> str:
    return json.dumps(value).replace("NaN", "nan").replace("Infinity", "inf")


@pytest.mark.parametrize("golden", sorted(path.name for path in GOLDENS.iterdir()))
def test_the_template_states_what_was_found(golden: str, tmp_path: Path) -> None:
    about = json.loads(str(np.load(GOLDENS / golden / "expected.npz")["about"]))
    file = open_checkpoint(GOLDENS / golden / about["checkpoint"])
    found = convert(file, Overrides(**about["stated"]))
    text = options_template(found.spec, found.recognition, file.path.name, file.key)
    options = read_options(write(tmp_path, text))
    again = torch2keras(file.path, tmp_path / "m.h5", **options.arguments())
    assert again.spec.config == found.spec.config
    assert again.spec.preprocessing == found.spec.preprocessing
    assert (again.spec.labels, again.spec.pos_embed) == (found.spec.labels, found.spec.pos_embed)
    assert not any(again.spec.source.changed)
    facts = again.recognition.facts
    stated = [name for name in facts if name in options.values and name != "pos_embed"]
    assert {facts[name].provenance for name in stated} <= {"given", "read"}
    assert {facts[name].provenance for name in ("mean", "std", "norm_eps")} == {"given"}
    for name, fact in found.recognition.facts.items():
        assert f"{name} = " in text, f"{fact.provenance}: {fact.why}"


def test_every_option_can_be_stated(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("a\nb\n")
    values: dict[str, Any] = {
        "variant": "vit_tiny_patch16_224",
        "num_heads": 3,
        "pool_heads": 3,
        "pool_prefix": False,
        "taps": [0, 3],
        "max_depth": 80,
        "norm_eps": 1e-5,
        "rotary_base": 100,
        "rotary_grid": 16,
        "image_size": [192, 256],
        "num_classes": 0,
        "mean": [0.1, 0, 1],
        "std": [0.1, 0.2, 1],
        "crop_pct": 1,
        "key": "",
        "dialect": "timm",
        "labels": "names.txt",
        **{name: words[-1] for name, words in CHOICES.items()},
        "tower": "image",  # timm, the dialect, has no other
    }
    assert {*values, "rules"} == {*OPTIONS}
    lines = (f"{name} = {toml(value)}" for name, value in values.items())
    options = read_options(write(tmp_path, "\n".join(lines)))
    assert options.overrides.mean == (0.1, 0.0, 1.0)
    assert options.overrides.rotary_grid == (16, 16)
    assert (options.overrides.taps, options.overrides.max_depth) == ((0, 3), 80.0)
    assert options.arguments()["labels"] == ("a", "b")
    assert {dialect.name for dialect in options.arguments()["among"]} == {"timm"}


def test_what_is_given_beside_the_file_counts_more(tmp_path: Path) -> None:
    options = read_options(write(tmp_path, 'num_heads = 3\ngelu = "tanh"\nrules = "r.toml"'))
    other = options.but({"num_heads": 6, "gelu": None, "dialect": "timm"})
    assert (other.overrides.num_heads, other.overrides.gelu) == (6, "tanh")
    assert [dialect.name for dialect in other.arguments()["among"]] == ["timm", "timm"]


@pytest.mark.parametrize(
    ("text", "says", "hint"),
    [
        ("num_head = 3", "'num_head' is no option", "num_heads"),
        ("num-heads = 3", "'num-heads' is no option", "num_heads"),
        ("[model]\nnum_heads = 3", "'model' is no option", ""),
        ("gelu = \n", "is no TOML", ""),
        ('gelu = "mish"', "gelu is mish", ""),
        ("gelu = 1", "gelu is 1", ""),
        ("labels = 3", "labels is 3", ""),
        ('rules = "a"\ndialect = "timm"', "both are given", ""),
        ("num_heads = true", "num_heads is True", ""),
        ("num_heads = 3.5", "num_heads is 3.5", ""),
        ('mean = "0.5"', "mean is 0.5", ""),
        ("mean = [123.675, 116.28, 103.53]", "pixels in 0..255", "mean = [0.485, 0.456, 0.406]"),
        ("\n\nimage_size = [1, 2, 3]", "image_size is 1,2,3", ""),
        ('"\\u0007" = 3', "'\\x07' is no option", ""),
    ],
)
def test_wrong_files(text: str, says: str, hint: str, tmp_path: Path) -> None:
    path = write(tmp_path, text)
    with pytest.raises(UsageError) as error:
        read_options(path).arguments()
    assert says in error.value.what
    assert str(path) in error.value.where
    assert error.value.hint == hint


def test_the_line_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, "# heads\nnum_heads = 3\ncrop_pct = 87.5\n")
    with pytest.raises(UsageError, match=r"options.toml, line 3: .*87.5 percent is 0.875"):
        read_options(path)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"a" * 300_000, b"[" * 100_000, None])
def test_files_that_are_no_toml(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "options.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError) as error:
        read_options(path)
    assert error.value.where.startswith(str(path))


NAN = float("nan")
WRONG: list[tuple[str, Any, str]] = [
    ("mean", (123.675, 116.28, 103.53), "divided by 255 they are 0.485,0.456,0.406"),
    ("std", (58.395, 57.12, 57.375), "divided by 255 they are 0.229,0.224,0.225"),
    ("mean", (127.5, 127.5, 127.5), "divided by 255 they are 0.5,0.5,0.5"),
    ("mean", (1.5, 0.5, 0.5), "pixels in 0..255"),
    ("mean", (-0.1, 0.5, 0.5), "between 0 and 1"),
    ("mean", (NAN, 0.5, 0.5), "between 0 and 1"),
    ("mean", (0.5, 0.5), "three numbers"),
    ("mean", 0.5, "three numbers"),
    ("std", (0.0, 0.5, 0.5), "above 0"),
    ("std", (0.5, 0.5, float("inf")), "above 0"),
    ("norm_eps", 1, "such as 1e-6"),
    ("norm_eps", 6, "the exponent of 1e-6"),
    ("norm_eps", -12.0, "the exponent of 1e-12"),
    ("norm_eps", 0, "above 0"),
    ("norm_eps", NAN, "above 0"),
    ("crop_pct", 87.5, "87.5 percent is 0.875"),
    ("crop_pct", 1.1, "at most 1"),
    ("crop_pct", 224, "at most 1"),
    ("crop_pct", 0, "above 0"),
    ("rotary_base", 1, "above 1"),
    ("rotary_base", 1e12, "at most 1e+09"),
    ("num_heads", 0, "from 1"),
    ("num_heads", True, "from 1"),
    ("num_heads", 10**30, "from 1"),
    ("image_size", (0, 224), "from 1"),
    ("image_size", (224, 100_000), "16384"),
    ("image_size", 224.0, "from 1"),
    ("rotary_grid", (16, -1), "from 1"),
    ("num_classes", -1, "from 0"),
    ("num_classes", 10**9, "1000000"),
    ("gelu", "mish", "erf, tanh, quick, relu, silu"),
    ("pool", ["avg"], "token"),
    ("variant", "", "published model"),
]


@pytest.mark.parametrize(("name", "value", "says"), WRONG, ids=str)
def test_values_out_of_range_in_python(name: str, value: Any, says: str) -> None:
    with pytest.raises(UsageError) as error:
        Overrides(**{name: value})
    assert says in error.value.message()
    assert f"--{name.replace('_', '-')}" in error.value.where


@pytest.mark.parametrize(("name", "value", "says"), WRONG, ids=str)
def test_values_out_of_range_in_a_file(name: str, value: Any, says: str, tmp_path: Path) -> None:
    path = write(tmp_path, f"{name} = {toml(value)}")
    with pytest.raises(UsageError) as error:
        read_options(path)
    assert says in error.value.message()


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [w for w in WRONG if w[0] in ("mean", "std", "norm_eps", "crop_pct", "num_heads", "gelu")],
    ids=str,
)
def test_values_out_of_range_in_a_rule_file(
    name: str, value: Any, says: str, tmp_path: Path
) -> None:
    path = write(tmp_path, f'name = "mine"\n{RULES}{name} = {toml(value)}')
    with pytest.raises(UsageError) as error:
        rules_of(path)
    assert says in error.value.message()


@pytest.mark.parametrize(("name", "value", "says"), [w for w in WRONG if w[0] in ("mean", "std")])
def test_values_out_of_range_in_a_processor(
    name: str, value: Any, says: str, tmp_path: Path
) -> None:
    path = tmp_path / "preprocessor_config.json"
    path.write_text(json.dumps({f"image_{name}": value}))
    with pytest.raises(CheckpointError) as error:
        read_sidecars(tmp_path)
    assert says in error.value.message()


@pytest.mark.parametrize(("name", "value", "says"), [w for w in WRONG if w[0] in ("mean", "std")])
def test_preparing_pictures_with_values_out_of_range(name: str, value: Any, says: str) -> None:
    with pytest.raises(UsageError) as error:
        Preprocessing(**{name: value})
    assert says in error.value.message()
    spec = recognise(open_checkpoint(GOLDENS / "transformers-vit-vit")).spec.to_dict()
    spec["preprocessing"][name] = value
    with pytest.raises(ValueError, match=r"."):
        ModelSpec.from_dict(spec)


def test_lists_are_taken_for_tuples() -> None:
    stated = Overrides(mean=[0, 0.5, 1], image_size=224)  # type: ignore[arg-type]
    assert (stated.mean, stated.image_size) == ((0.0, 0.5, 1.0), (224, 224))
    golden = GOLDENS / "transformers-vit-vit"
    assert recognise(open_checkpoint(golden), stated).spec.preprocessing.mean == (0.0, 0.5, 1.0)
