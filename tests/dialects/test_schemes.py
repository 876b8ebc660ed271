"""Every source is recognised, equal to its own library's model, and written back as it was."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from schemes import SCHEMES, Scheme, images, run, torchvision, transformers

from vit_convert.conversion.assumptions import Assumptions
from vit_convert.conversion.convert import Conversion
from vit_convert.conversion.files import keras2torch, torch2keras
from vit_convert.dialects import dialects
from vit_convert.exporters.keras_h5 import load_model
from vit_convert.parity.sources import source_model

TOLERANCE = 1e-5


@dataclass(frozen=True)
class Converted:
    scheme: Scheme
    source: Path
    model: Callable[[torch.Tensor], torch.Tensor]
    h5: Path
    conversion: Conversion


@pytest.fixture(scope="module", params=SCHEMES, ids=lambda scheme: scheme.name)
def converted(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Converted:
    scheme: Scheme = request.param
    logging.getLogger("transformers").setLevel(logging.ERROR)
    folder = tmp_path_factory.mktemp("scheme")
    source, model = scheme.save(folder)
    h5 = folder / "converted.h5"
    return Converted(scheme, source, model, h5, torch2keras(source, h5, overrides=scheme.overrides))


def relative(got: np.ndarray, expected: np.ndarray) -> float:
    assert got.shape == expected.shape
    return float(np.abs(got - expected).max() / np.abs(expected).max())


def test_it_is_recognised_and_every_tensor_is_used_or_ignored_for_a_reason(
    converted: Converted,
) -> None:
    ledger = converted.conversion.ledger
    assert ledger.dialect.name == converted.scheme.dialect
    assert ledger.dialect.architecture == converted.scheme.architecture
    assert not ledger.unexpected
    assert len(ledger.ignored) == converted.scheme.ignored
    assert all(len(reason) > 10 for reason in ledger.ignored.values())
    used = {name for names in ledger.sources.values() for name in names}
    assert used | set(ledger.ignored) == set(converted.conversion.checkpoint.tensors)


def test_keras_and_the_reference_give_what_the_library_gives(converted: Converted) -> None:
    pictures = images()
    expected = run(converted.model, pictures)
    assert relative(load_model(converted.h5)(pictures).numpy(), expected) < TOLERANCE
    result = converted.conversion
    reference = source_model(result.spec, result.checkpoint, result.ledger)
    # the same sums, which float32 rounds otherwise where q, k and v are one product
    assert relative(reference.run(pictures), expected) < 1e-6
    assert list(reference.blocks(pictures))[:2] == ["embeddings", "blocks.0"]


def test_going_back_gives_the_same_tensors(converted: Converted, tmp_path: Path) -> None:
    result = converted.conversion
    suffix = ".npz" if result.checkpoint.format == "npz" else ".safetensors"
    back = tmp_path / f"back{suffix}"
    assert keras2torch(converted.h5, back) == converted.scheme.dialect
    written = np.load(back) if suffix == ".npz" else load_file(back)
    source = result.checkpoint.tensors
    assert set(written) == set(source) - set(result.ledger.ignored)
    for name in written:
        np.testing.assert_array_equal(np.asarray(written[name]), source[name].read())


def test_what_neither_tensors_nor_files_say_is_warned_about(converted: Converted) -> None:
    facts = converted.conversion.recognition.facts
    assumed = Assumptions.of(converted.conversion.recognition).all
    sidecar = converted.conversion.ledger.dialect.sidecar
    if sidecar:  # config.json lies beside it
        gated = converted.scheme.dialect.endswith(("gated", "aimv2"))  # its hidden_act is no GELU
        for name in ("num_heads", "norm_eps", *(["gelu"] if not gated else [])):
            assert facts[name].provenance == "read"
        assert "config.json" in facts["norm_eps"].why
    assert "num_heads" not in assumed
    if not sidecar and converted.scheme.dialect.startswith(("timm", "torch-", "google", "clip")):
        gated = converted.conversion.spec.architecture == "vit" and facts["mlp"].value != "plain"
        assert ("mlp" if gated else "gelu") in assumed or converted.scheme.overrides.gelu


def test_each_dialect_has_a_scheme_here() -> None:
    tested = {(scheme.dialect, scheme.architecture) for scheme in SCHEMES}
    assert tested == {(d.name, d.architecture) for d in dialects()}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A ViT that every scheme for plain ViTs can express."""
    folder = tmp_path_factory.mktemp("plain")
    scheme = next(s for s in SCHEMES if s.name == "transformers ViTForImageClassification")
    source, model = scheme.save(folder)
    torch2keras(source, folder / "plain.h5")
    return folder, model


def test_torchvision_loads_what_was_written_for_it(plain: tuple[Path, Any]) -> None:
    folder, model = plain
    keras2torch(folder / "plain.h5", folder / "tv.pth", dialect_name="torchvision")
    theirs = torchvision.models.VisionTransformer(
        image_size=16,
        patch_size=4,
        num_layers=2,
        num_heads=3,
        hidden_dim=12,
        mlp_dim=20,
        num_classes=5,
        norm_layer=lambda dim: torch.nn.LayerNorm(dim, eps=1e-12),
    )
    theirs.load_state_dict(torch.load(folder / "tv.pth", weights_only=True), strict=True)
    assert relative(run(theirs.eval(), images()), run(model, images())) < TOLERANCE


def test_timm_loads_what_was_written_for_it(plain: tuple[Path, Any]) -> None:
    from schemes import vit

    folder, model = plain
    keras2torch(folder / "plain.h5", folder / "timm.safetensors", dialect_name="timm")
    theirs = vit(norm_layer=partial(torch.nn.LayerNorm, eps=1e-12))
    theirs.load_state_dict(load_file(folder / "timm.safetensors"), strict=True)
    assert relative(run(theirs, images()), run(model, images())) < TOLERANCE


@pytest.mark.parametrize("dialect", ["transformers-vit", "transformers-vit-5"])
def test_transformers_loads_what_was_written_for_it(dialect: str, plain: tuple[Path, Any]) -> None:
    folder, model = plain
    keras2torch(folder / "plain.h5", folder / f"{dialect}.safetensors", dialect_name=dialect)
    state = load_file(folder / f"{dialect}.safetensors")
    config = transformers.ViTConfig.from_pretrained(folder)
    if dialect.endswith("-5"):
        theirs = transformers.ViTForImageClassification(config)
        theirs.load_state_dict(state, strict=True)
    else:
        theirs, info = transformers.ViTForImageClassification.from_pretrained(
            None, config=config, state_dict=state, output_loading_info=True
        )
        assert not info["missing_keys"]
        assert not info["unexpected_keys"]
    theirs.eval()
    got = run(lambda x: theirs(x).logits, images())
    assert relative(got, run(model, images())) < TOLERANCE


PLAIN = [d.name for d in dialects() if d.architecture == "vit"]
# these hold a plain ViT with class token, q, k, v bias and head; the others lack or need more
EXPRESSES = {
    "timm", "timm-gamma", "timm-beit", "timm-eva", "bubbliiiing", "torchvision",
    "torchvision-linear", "transformers-vit", "transformers-vit-5", "transformers-vit-msn",
    "transformers-beit", "transformers-beit-5",
    "transformers-dinov2", "transformers-dinov2-5", "google", "big_vision", "big_vision-scanned",
    "torch-encoder", "torch-encoder-unfold",
}  # fmt: skip


@pytest.mark.parametrize("name", PLAIN)
def test_a_scheme_that_cannot_hold_a_model_says_so_and_writes_nothing(
    name: str, plain: tuple[Path, Any], tmp_path: Path
) -> None:
    from vit_convert.errors import MappingError

    target = tmp_path / "out.safetensors"
    if name in EXPRESSES:
        keras2torch(plain[0] / "plain.h5", target, dialect_name=name)
        assert target.exists()
        return
    with pytest.raises(MappingError, match=r"has no name for|always has|has other rotary"):
        keras2torch(plain[0] / "plain.h5", target, dialect_name=name)
    assert not target.exists()


def test_unfolding_and_multiplying_is_the_convolution(tmp_path: Path) -> None:
    """The same weights, once as a matrix over unfolded patches and once as a convolution."""
    scheme = next(s for s in SCHEMES if s.dialect == "torch-encoder-unfold")
    source, _ = scheme.save(tmp_path)
    torch2keras(source, tmp_path / "m.h5", overrides=scheme.overrides)
    keras2torch(tmp_path / "m.h5", tmp_path / "conv.pth", dialect_name="torch-encoder")
    matrix = torch.load(source, weights_only=True)["patch_embed.weight"]
    kernel = torch.load(tmp_path / "conv.pth", weights_only=True)["patch_embed.weight"]
    assert (matrix.ndim, kernel.ndim) == (2, 4)
    pictures = torch.from_numpy(images().transpose(0, 3, 1, 2).copy())
    unfolded = torch.nn.functional.unfold(pictures, 4, stride=4).transpose(1, 2) @ matrix.T
    convolved = torch.nn.functional.conv2d(pictures, kernel, stride=4).flatten(2).transpose(1, 2)
    assert torch.allclose(unfolded, convolved, atol=1e-5)


def test_labels_of_config_json_are_kept(tmp_path: Path) -> None:
    scheme = next(s for s in SCHEMES if s.name == "transformers ViTForImageClassification")
    scheme.save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["id2label"] = {str(i): name for i, name in enumerate("abcde")}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert torch2keras(tmp_path, tmp_path / "m.h5").spec.labels == ("a", "b", "c", "d", "e")
