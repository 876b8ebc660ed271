"""Classifiers made of words, against transformers' `logits_per_image`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from words.towers import IMAGE, KINDS, made, text_embeddings, token_ids

import vit_convert
from vit_convert.architectures import ModelSpec
from vit_convert.conversion.h5_file import open_keras
from vit_convert.errors import VitConvertError
from vit_convert.words.prompts import imagenet_templates

CLASSES = ("bird", "Great spotted woodpecker", "cat", "dog", "crane")
TEMPLATES = ("a photo of a {}.", "the {}", "{} or {}")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Any, Any, Path]]:
    found: dict[str, tuple[Any, Any, Path]] = {}

    def get(kind: str) -> tuple[Any, Any, Path]:
        if kind not in found:
            folder = tmp_path_factory.mktemp(kind)
            found[kind] = (*made(kind, folder), folder)
        return found[kind]

    return get


def pictures() -> np.ndarray:
    side = IMAGE["image_size"]
    return np.random.default_rng(3).standard_normal((4, side, side, 3), np.float32)


def pixels(kind: str, images: np.ndarray) -> dict[str, torch.Tensor]:
    """Pictures as a model of transformers takes them."""
    from transformers_sources import _naflex

    first = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    return _naflex(first) if kind == "siglip2-naflex" else {"pixel_values": first}


@pytest.mark.parametrize("kind", KINDS)
def test_logits_are_logits_per_image(
    kind: str, saved: Callable[[str], tuple[Any, Any, Path]], tmp_path: Path
) -> None:
    model, tokenizer, folder = saved(kind)
    target = tmp_path / "words.h5"
    result = vit_convert.zero_shot(folder, CLASSES, target)
    ids = token_ids(kind, tokenizer, [f"a photo of a {name}." for name in CLASSES])
    with torch.inference_mode():
        expected = model(input_ids=ids, **pixels(kind, pictures())).logits_per_image.numpy()
    found = vit_convert.load_model(target)(pictures()).numpy()
    assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()
    assert result.classes == CLASSES
    with open_keras(target) as (spec, _):
        assert spec.labels == CLASSES
        assert ModelSpec.from_dict(spec.to_dict()) == spec


@pytest.mark.parametrize("kind", ["clip", "siglip2"])
def test_templates_are_averaged(
    kind: str, saved: Callable[[str], tuple[Any, Any, Path]], tmp_path: Path
) -> None:
    """As OpenAI's notebook: each text's embedding normalised, then averaged, then normalised."""
    model, tokenizer, folder = saved(kind)
    target = tmp_path / "words.h5"
    vit_convert.zero_shot(folder, CLASSES, target, templates=TEMPLATES)
    classes = []
    for name in CLASSES:
        texts = [template.replace("{}", name) for template in TEMPLATES]
        each = text_embeddings(model, token_ids(kind, tokenizer, texts)).astype(np.float64)
        mean = (each / np.linalg.norm(each, axis=1, keepdims=True)).mean(axis=0)
        classes.append(mean / np.linalg.norm(mean))
    with open_keras(target) as (_, weights):
        head = weights["head.weight"].read()
    assert np.abs(head - np.exp(3.1) * np.array(classes)).max() < 1e-5 * np.abs(head).max()


@pytest.mark.parametrize("kind", ["clip", "siglip", "siglip2-naflex"])
def test_every_artifact_is_verified_against_transformers(
    kind: str, saved: Callable[[str], tuple[Any, Any, Path]], tmp_path: Path
) -> None:
    folder = saved(kind)[2]
    target = tmp_path / "words.h5"
    vit_convert.zero_shot(folder, CLASSES, target, templates=TEMPLATES[: 1 + (kind == "clip")])
    (tflite,) = vit_convert.export(target, ["tflite"], tmp_path)
    found = vit_convert.verify([target, tflite], source=folder, profile=True)
    for result in found:
        assert result.comparison.passed
        assert result.comparison.relative < 1e-5
        assert "Model of transformers" in result.reference
    assert vit_convert.open_artifact(tflite).spec.labels == CLASSES


@pytest.mark.parametrize(
    ("target", "output"),
    [("tflite", "sigmoid"), ("saved_model", "sigmoid"), ("tflite", "embedding")],
)
def test_other_outputs_are_verified_too(
    target: str, output: Any, saved: Callable[[str], tuple[Any, Any, Path]], tmp_path: Path
) -> None:
    folder = saved("siglip" if output == "sigmoid" else "clip")[2]
    source = tmp_path / "words.h5"
    vit_convert.zero_shot(folder, CLASSES, source)
    options = vit_convert.ExportOptions(output=output)
    (exported,) = vit_convert.export(source, [target], tmp_path, options)
    result = vit_convert.verify(exported, source=folder)
    assert result.comparison.passed
    artifact = vit_convert.open_artifact(exported)
    (found,) = artifact.run(pictures()).values()
    if output == "embedding":
        assert found.shape == (len(pictures()), 15)
        assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    else:
        logits = vit_convert.load_model(source)(pictures()).numpy()
        assert np.allclose(found, 1 / (1 + np.exp(-logits.astype(np.float64))), rtol=1e-5)


def test_a_wrong_head_is_found(
    saved: Callable[[str], tuple[Any, Any, Path]], tmp_path: Path
) -> None:
    import h5py

    folder = saved("clip")[2]
    target = tmp_path / "words.h5"
    vit_convert.zero_shot(folder, CLASSES, target)
    with h5py.File(target, "r+") as file:
        names: list[str] = []
        file.visit(lambda name: names.append(name) if name.endswith("head/kernel:0") else None)
        file[names[0]][:, 1] = file[names[0]][:, 2]
    assert not vit_convert.verify(target, source=folder).comparison.passed


def test_vocabulary_and_merges_are_enough(
    saved: Callable[[str], tuple[Any, Any, Path]], tmp_path: Path
) -> None:
    import json
    import shutil

    from words.towers import byte_pairs

    folder = saved("clip")[2]
    copied = tmp_path / "copied"
    shutil.copytree(folder, copied)
    (copied / "tokenizer.json").unlink()
    vocab, merges = byte_pairs()
    (copied / "vocab.json").write_text(json.dumps(vocab))
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (copied / "merges.txt").write_text("\n".join(lines) + "\n")
    heads = []
    for source, name in ((folder, "a.h5"), (copied, "b.h5")):
        vit_convert.zero_shot(source, CLASSES, tmp_path / name)
        with open_keras(tmp_path / name) as (_, weights):
            heads.append(weights["head.weight"].read())
    assert np.array_equal(*heads)


@pytest.mark.parametrize(
    ("classes", "templates", "message"),
    [
        (("bird", "cat", " bird "), ("a {}",), "there twice"),
        (("bird", " "), ("a {}",), "has no name"),
        ((), ("a {}",), "no classes"),
        (("bird",), ("a bird",), "no place for the class"),
        (("bird",), ("a {}", "a {}"), "there twice"),
        (("bird " * 90,), ("a {}",), "is too long"),
        (("<|endoftext|>",), ("a {}",), "begins or ends"),
    ],
)
def test_bad_words_leave_nothing(
    classes: tuple[str, ...],
    templates: tuple[str, ...],
    message: str,
    saved: Callable[[str], tuple[Any, Any, Path]],
    tmp_path: Path,
) -> None:
    with pytest.raises(VitConvertError, match=message):
        vit_convert.zero_shot(saved("clip")[2], classes, tmp_path / "words.h5", templates=templates)
    assert not [*tmp_path.iterdir()]


def test_a_folder_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    made("siglip", tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / "spiece.model").write_bytes(b"")
    with pytest.raises(VitConvertError, match=r"no tokenizer in it, but spiece\.model"):
        vit_convert.zero_shot(tmp_path, CLASSES, tmp_path / "words.h5")
    assert not (tmp_path / "words.h5").exists()


def test_another_models_tokenizer_is_refused(tmp_path: Path) -> None:
    made("siglip", tmp_path)
    made("siglip2", tmp_path / "other")
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(VitConvertError, match="is no tokenizer"):
        vit_convert.zero_shot(tmp_path, CLASSES, tmp_path / "words.h5")
    made("clip", tmp_path / "clip")
    (tmp_path / "tokenizer.json").write_bytes((tmp_path / "clip/tokenizer.json").read_bytes())
    with pytest.raises(VitConvertError, match="tokenizer"):
        vit_convert.zero_shot(tmp_path, CLASSES, tmp_path / "words.h5")


def test_an_image_model_is_refused(tmp_path: Path) -> None:
    checkpoint = Path(__file__).parents[1] / "goldens/dialects/timm-vit/model.pth"
    with pytest.raises(VitConvertError, match="no text tower"):
        vit_convert.zero_shot(checkpoint, CLASSES, tmp_path / "words.h5")


def test_there_is_no_way_back(
    saved: Callable[[str], tuple[Any, Any, Path]], tmp_path: Path
) -> None:
    vit_convert.zero_shot(saved("clip")[2], CLASSES, tmp_path / "words.h5")
    with pytest.raises(VitConvertError, match="made of words"):
        vit_convert.keras2torch(tmp_path / "words.h5", tmp_path / "back.safetensors")


def test_openai_has_80_templates() -> None:
    templates = imagenet_templates()
    assert len({*templates}) == 80
    assert all(template.count("{}") == 1 for template in templates)
    assert templates[0] == "a bad photo of a {}."
