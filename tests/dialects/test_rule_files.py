"""A user's own naming scheme: there and back, and every mistake by its line."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from families import Family, small_vit

from vit_convert.architectures import Overrides
from vit_convert.checkpoint import open_checkpoint
from vit_convert.conversion.convert import recognise
from vit_convert.conversion.files import keras2torch, torch2keras
from vit_convert.dialects import canonical_patterns, rules_of
from vit_convert.dialects.rule_files import _VALUES, NAMED, parse_rules
from vit_convert.dialects.template import rules_template
from vit_convert.dialects.toml_file import parse
from vit_convert.errors import RecognitionError, UsageError

RULES = """
name = "mine"
title = "my trainer's ViT"

[rename]
"net.cls" = "cls_token"
"net.pos" = "pos_embed"
"net.stem.{leaf}" = "patch_embed.proj.{leaf}"
"net.{i}.a.{leaf}" = "blocks.{i}.norm1.{leaf}"
"net.{i}.out.{leaf}" = "blocks.{i}.attn.proj.{leaf}"
"net.{i}.b.{leaf}" = "blocks.{i}.norm2.{leaf}"
"net.{i}.up.{leaf}" = "blocks.{i}.mlp.fc1.{leaf}"
"net.{i}.down.{leaf}" = "blocks.{i}.mlp.fc2.{leaf}"
"net.last.{leaf}" = "norm.{leaf}"
"top.bias" = "head.bias"

[[rule]]
from = "top.kernel"
to = "head.weight"
transform = "transposed"

[[rule]]
from = ["net.{i}.q.{leaf}", "net.{i}.k.{leaf}", "net.{i}.v.{leaf}"]
to = "blocks.{i}.attn.qkv.{leaf}"
transform = "joined 3"

[ignore]
"decoder.{rest}" = "for pre-training only"

[values]
num_heads = 4
gelu = "tanh"
"""
NAMES = {
    "cls_token": "net.cls", "pos_embed": "net.pos", "patch_embed.proj.": "net.stem.",
    ".norm1.": ".a.", ".attn.proj.": ".out.", ".norm2.": ".b.", ".mlp.fc1.": ".up.",
    ".mlp.fc2.": ".down.", "blocks.": "net.", "norm.": "net.last.", "head.bias": "top.bias",
}  # fmt: skip


def renamed_by_hand(family: Family) -> dict[str, torch.Tensor]:
    state = {}
    for name, tensor in family.model.state_dict().items():
        if name == "head.weight":
            state["top.kernel"] = tensor.T.contiguous()
            continue
        if ".attn.qkv." in name:
            for part, values in zip("qkv", tensor.chunk(3), strict=True):
                own = name.replace("blocks.", "net.").replace("attn.qkv", part)
                state[own] = values.clone()
            continue
        for theirs, mine in NAMES.items():
            if name.startswith(theirs) or (theirs.startswith(".") and theirs in name):
                name = name.replace(theirs, mine, 1)
        state[name] = tensor
    return state | {"decoder.0.weight": torch.ones(3)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.toml").write_text(RULES)
    torch.save(renamed_by_hand(small_vit()), tmp_path / "mine.pth")
    return tmp_path


def test_a_checkpoint_converts_by_rules_and_goes_back_without_them(folder: Path) -> None:
    family = small_vit()
    result = torch2keras(
        folder / "mine.pth",
        folder / "mine.h5",
        overrides=Overrides(image_size=(24, 50)),
        among=[rules_of(folder / "mine.toml")],
    )
    for name, array in family.arrays().items():
        np.testing.assert_array_equal(result.weights[name].read(), array)
    assert result.ledger.ignored == {"decoder.0.weight": "for pre-training only"}
    facts = result.recognition.facts
    assert (facts["num_heads"].value, facts["num_heads"].provenance) == (4, "given")
    assert facts["gelu"].value == "tanh"
    (folder / "mine.toml").unlink()
    assert keras2torch(folder / "mine.h5", folder / "back.pth") == "mine"
    back = torch.load(folder / "back.pth", weights_only=True)
    source = torch.load(folder / "mine.pth", weights_only=True)
    assert set(back) == set(source) - {"decoder.0.weight"}
    assert all(torch.equal(back[name], source[name]) for name in back)


def test_any_model_is_written_in_a_scheme_of_ones_own(folder: Path) -> None:
    family = small_vit()
    torch.save(family.model.state_dict(), folder / "timm.pth")
    stated = Overrides(num_heads=4, image_size=(24, 50))
    torch2keras(folder / "timm.pth", folder / "timm.h5", overrides=stated)
    keras2torch(folder / "timm.h5", folder / "out.pth", rules=folder / "mine.toml")
    written = torch.load(folder / "out.pth", weights_only=True)
    expected = renamed_by_hand(family)
    del expected["decoder.0.weight"]
    assert set(written) == set(expected)
    assert all(torch.equal(written[name], expected[name]) for name in written)


def test_what_no_dialect_knows_is_refused_with_the_way_to_a_rule_file(folder: Path) -> None:
    checkpoint = open_checkpoint(folder / "mine.pth")
    with pytest.raises(RecognitionError, match="not named as any model") as error:
        recognise(checkpoint)
    assert "--rules-template" in error.value.hint
    whose = error.value.expected.split("the names of ")[1].split("; ")[0].split(", ")
    assert {"timm", "transformers", "torchvision", "DINOv2", "CLIP", "Google"} <= {*whose}
    assert len(whose) == len({*whose}) < 15


def test_the_template_lists_both_sides_and_is_a_rule_file_but_for_the_blanks(folder: Path) -> None:
    text = rules_template(open_checkpoint(folder / "mine.pth").tensors)
    assert '"net.{i}.q.{leaf}" = ""' in text
    assert "3 blocks" in text
    assert "blocks.{i}.attn.qkv.{leaf}" in text
    for shape in (
        "(3 dim, dim)",
        "(dim, channels, patch height, patch width)",
        "(1, 1 + patches, dim)",
        "(1, registers, dim)",
        "(hidden, dim)",
        "(classes, dim)",
    ):
        assert shape in text
    with pytest.raises(UsageError, match=r"line \d+: 'net\.cls' has no name"):
        parse_rules(text, "here", canonical_patterns)
    targets = {
        line.split('"')[1]: line.split('"')[3] for line in RULES.splitlines() if '" = "' in line
    }
    for source, target in targets.items():
        text = text.replace(f'"{source}" = ""', f'"{source}" = "{target}"')
    left = [line for line in text.splitlines() if '= ""' in line]
    assert {line.split('"')[1] for line in left} == {
        "top.kernel", "decoder.{i}.weight",
        "net.{i}.q.{leaf}", "net.{i}.k.{leaf}", "net.{i}.v.{leaf}",
    }  # fmt: skip


def test_the_manual_names_every_transform_and_value() -> None:
    manual = (Path(__file__).parents[2] / "docs/dialects.md").read_text(encoding="utf-8")
    text = " ".join(manual.split())
    transforms = text.split("Transforms: ")[1].split("`stacked = true`")[0]
    assert set(re.findall("`([^`]+)`", transforms)) - {"q", "kv"} == set(NAMED)
    values = text.split("`[values]` may state ")[1].split(".")[0]
    assert re.split(", | and ", values) == [*_VALUES]


def test_a_line_that_would_keep_the_parser_busy_is_named() -> None:
    lines = ["a" + ".a" * 200 + " = 1", "# . . .", "b" + ".b" * 201 + " = 1"]
    with pytest.raises(UsageError, match="line 3 has more than 200 dots"):
        parse("\n".join(lines), "here", "rules")
    assert parse("\n".join(lines[:2]), "here", "rules")["a"]["a"]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"cls_token"', '"class_token"', "line 6: net.cls: class_token is no parameter"),
        ('"net.pos" =', '"net.cls" = "cls_token"\n"net.pos" =', "no TOML"),
        ('"net.{i}.b.', '"net.{i}.a.{leaf}x" = "norm.{leaf}"\n"net.{i}.b.', "is filled by"),
        ('"net.{i}.a.{leaf}"', '"net.{n}.a.{leaf}"', "the placeholder {n} does not exist"),
        ('"decoder.{rest}"', '"decoder.{{body}}"', "the placeholder {}, {x} does not exist"),
        ('"net.pos"', '"{{body}rest}"', "the placeholder {xrest} does not exist"),
        ('"net.{i}.a.{leaf}"', '"net.a.{leaf}"', "its target has {i}, and its source does not"),
        ('"net.cls"', '"net.{i}.cls"', "its source has {i}, and its target does not"),
        ('"net.cls"', '"net.pos"', "no TOML"),
        ('"joined 3"', '"joined 2"', "makes 1 of 2 tensors, and the rule has 1 of 3"),
        ('"joined 3"', '"glued"', "no transform is called 'glued'"),
        ('"decoder.{rest}"', '"net.{rest}"', "two entries claim net.cls"),
        ('"tanh"', '"swish"', "gelu is 'swish'"),
        ("num_heads = 4", "num_heads = -4", "num_heads is -4"),
        ("num_heads = 4", "depth = 4", "'depth' is no value"),
        ('name = "mine"', 'name = "timm"', "there is a dialect called 'timm'"),
        ('name = "mine"', 'name = "a b"', "its name is 'a b'"),
        ("[ignore]", "[ignored]", "'ignored' means nothing"),
        ('"for pre-training only"', "3", "3 is no text"),
        ("[rename]", "[rename", "no TOML"),
    ],
)
def test_mistakes_are_named(old: str, new: str, says: str, tmp_path: Path) -> None:
    assert old in RULES
    (tmp_path / "mine.toml").write_text(RULES.replace(old, new, 1))
    with pytest.raises(UsageError) as error:
        rules_of(tmp_path / "mine.toml")
    assert says in error.value.message()


@pytest.mark.parametrize("content", [b"\xff\xfe", b"x" * 300_000, b"", b"[a.]" * 10])
def test_files_that_are_no_rules_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_bytes(content)
    with pytest.raises(UsageError):
        rules_of(tmp_path / "mine.toml")
    with pytest.raises(UsageError, match="cannot be read"):
        rules_of(tmp_path / "nothing.toml")
