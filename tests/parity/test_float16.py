"""`verify(..., arithmetic="float16")`: what a phone's GPU makes of a file, and where it breaks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from families import Family, small_cait, small_vit

from vit_convert import torch2keras
from vit_convert.conversion.h5_file import write_h5
from vit_convert.errors import UsageError
from vit_convert.exporters import ExportOptions, export
from vit_convert.exporters.tflite.graph_reader import TfliteGraph
from vit_convert.parity.block_ranges import LARGEST
from vit_convert.parity.float16 import TOLERANCE
from vit_convert.parity.report import float16_lines
from vit_convert.parity.result import VerifyResult
from vit_convert.parity.verify import verify

WEIGHTS = Path(__file__).parents[2] / "weights"
TRAINED = {"vit": "vit_cifar10.pth", "cait": "cait_cifar10.safetensors"}


def lay_out(family: Family, folder: Path, **options: object) -> Path:
    """source.pth, and the .tflite file of a model."""
    torch.save(family.model.state_dict(), folder / "source.pth")
    write_h5(folder / "model.h5", family.spec, family.tensors())
    return export(folder / "model.h5", ["tflite"], folder, ExportOptions(**options), force=True)[0]  # type: ignore[arg-type]  # literals


def verified(family: Family, folder: Path, **options: object) -> VerifyResult:
    path = lay_out(family, folder, **options)
    return verify(path, source=folder / "source.pth", arithmetic="float16")


def scaled_from(block: int, factor: float, family: Family) -> Family:
    """The output of a block's MLP, multiplied before it joins the residual stream."""
    with torch.no_grad():
        layer = family.model.blocks[block].mlp.fc2
        layer.weight.mul_(factor)
        layer.bias.mul_(factor)
    return family


def there_and_back(block: int, value: float, family: Family) -> Family:
    """A block adds large numbers to the residual stream, and the next takes them away again."""
    with torch.no_grad():
        signs = 1 - 2 * (torch.arange(family.spec.config.embed_dim) % 2)
        family.model.blocks[block].mlp.fc2.bias.add_(value * signs)
        family.model.blocks[block + 1].mlp.fc2.bias.sub_(value * signs)
    return family


def in_litert(path: Path, images: np.ndarray) -> dict[str, np.ndarray]:
    """Every computed tensor of a file, as LiteRT has it in float32."""
    interpreter = Interpreter(
        str(path),
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], images)
    interpreter.invoke()
    graph = TfliteGraph(path)
    return {
        graph.operations[i].tensor: interpreter.get_tensor(int(node.outputs[0]))
        for i, node in enumerate(graph.main.operators)
        if not graph.operations[i].prepares
    }


@pytest.fixture(scope="module", params=TRAINED)
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """float32 and float16 files of really trained weights; the folder's name is the model's."""
    folder = tmp_path_factory.mktemp("trained") / request.param
    folder.mkdir()
    torch2keras(WEIGHTS / TRAINED[request.param], folder / "m.h5")
    for precision in ("float32", "float16"):
        export(folder / "m.h5", ["tflite"], folder, ExportOptions(precision=precision))  # type: ignore[arg-type]  # a literal
    return folder


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_trained_models_stand_it_and_say_their_ranges(trained: Path, precision: str) -> None:
    result = verify(
        trained / f"m_{precision}.tflite",
        source=WEIGHTS / TRAINED[trained.name],
        images=WEIGHTS / "images/bird",
        arithmetic="float16",
    )
    assert result.passed, result
    assert (result.arithmetic, result.num_images) == ("float16", 7)
    # float16 leaves its mark, far from what is allowed
    assert 1e-4 < result.comparison.relative < TOLERANCE / 2
    assert result.comparison.top1_agreement == 100
    profile = result.float16
    assert profile is not None
    assert profile.first_bad is None
    count = {"vit": 6, "cait": 4}[trained.name]
    names = ["embeddings", *(f"blocks.{i}" for i in range(count)), "head"]
    if trained.name == "cait":
        names[-1:-1] = ["blocks_token_only.0", "blocks_token_only.1"]
    assert [block.name for block in profile.blocks] == names
    for block in profile.blocks:
        assert block.least < 0 < block.most
        assert block.largest == max(-block.least, block.most)
        assert block.headroom == pytest.approx(LARGEST / block.largest)
        assert block.headroom > 20
        assert 1e-5 < block.relative < 0.02
    assert profile.narrowest.largest == max(block.largest for block in profile.blocks)


def test_the_ranges_are_those_of_litert_s_tensors(tmp_path: Path) -> None:
    family = small_vit()
    path = lay_out(family, tmp_path)
    images = family.images(1)
    reference = tmp_path / "reference.npz"
    np.savez(reference, images=images, logits=family.logits(images))
    result = verify(path, reference=reference, arithmetic="float16")
    assert result.float16 is not None
    blocks = {operation.tensor: operation.block for operation in TfliteGraph(path).operations}
    tensors = in_litert(path, images)
    for block in result.float16.blocks[1:-1]:
        inside = [array for name, array in tensors.items() if blocks[name] == block.name]
        assert len(inside) > 20
        assert block.least == pytest.approx(min(array.min() for array in inside), rel=1e-4)
        assert block.most == pytest.approx(max(array.max() for array in inside), rel=1e-4)
        assert np.abs(tensors[block.largest_at]).max() == pytest.approx(block.largest, rel=1e-4)


@pytest.mark.parametrize("factor", [1e4, 1e6])
@pytest.mark.parametrize("make", [small_vit, small_cait])
@pytest.mark.parametrize("block", [0, 1])
def test_the_block_in_which_values_overflow_is_named(
    block: int, make: Callable[..., Family], factor: float, tmp_path: Path
) -> None:
    """As LiteRT's float32 says: the first tensor with values beyond 65504."""
    family = scaled_from(block, factor, make(depth=3))
    result = verified(family, tmp_path)
    assert not result.passed
    assert not result.comparison.relative <= 0.1
    assert result.float16 is not None
    bad = result.float16.first_bad
    assert bad is not None
    path = tmp_path / "model_float32.tflite"
    values = in_litert(path, np.random.default_rng(0).standard_normal((1, 24, 50, 3), np.float32))
    beyond = [name for name, array in values.items() if np.abs(array).max() > LARGEST]
    graph = TfliteGraph(path)
    (place,) = (each for each in graph.operations if each.tensor == beyond[0])
    assert (bad.name, bad.overflow_at, bad.overflow_of) == (place.block, place.tensor, place.name)
    assert result.where == f"{bad.name} ({bad.overflow_of} overflows in float16, at {beyond[0]})"
    assert result.first_difference is None
    assert result.note.startswith("the same file is right in float32")
    widest = result.float16.narrowest
    assert widest.headroom < 1
    assert widest.largest > LARGEST
    first, second = float16_lines(result.float16)
    assert first == f"in float16, the first block that goes wrong is {result.where}"
    assert "more than 65504" in second


def test_the_block_in_which_digits_go_is_named(tmp_path: Path) -> None:
    """Nothing overflows; but what the embeddings and the first block made is rounded away."""
    result = verified(there_and_back(1, 400, small_vit(depth=4)), tmp_path)
    assert not result.passed
    assert 0.02 < result.comparison.relative < 0.5
    assert result.float16 is not None
    bad = result.float16.first_bad
    assert bad is not None
    assert (bad.name, bad.relative_at, bad.overflow_at) == ("blocks.2", "blocks.2", "")
    assert "digits are lost" in bad.problem
    assert result.where.startswith("blocks.2 (digits are lost: float16 differs from float32 by 4")
    assert min(block.headroom for block in result.float16.blocks) > 50


def test_another_model_is_another_model_in_float16_too(tmp_path: Path) -> None:
    """And then no block breaks, and the note does not blame the GPU."""
    family = small_vit()
    path = lay_out(family, tmp_path)
    with torch.no_grad():
        family.model.blocks[1].mlp.fc2.weight[3, 5] += 3
    torch.save(family.model.state_dict(), tmp_path / "other.pth")
    result = verify(path, source=tmp_path / "other.pth", arithmetic="float16")
    assert not result.passed
    assert result.float16 is not None
    assert result.float16.first_bad is None
    assert result.note.startswith("the same file differs in float32, too")
    assert result.where == "blocks.1"


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 3},
        {"batch_size": "dynamic"},
        {"precision": "float16"},
        {"precision": "int8-dynamic"},
        {"output": "softmax"},
        {"output": "features"},
        {"embed_preprocessing": True},
        {"attention": True},
    ],
    ids=str,
)
def test_every_kind_of_file_is_computed(options: dict[str, object], tmp_path: Path) -> None:
    result = verified(small_vit(depth=2), tmp_path, **options)
    assert result.passed, result
    assert result.num_images == 4
    assert result.comparison.relative > 1e-5
    assert result.float16 is not None
    assert [b.name for b in result.float16.blocks] == ["embeddings", "blocks.0", "blocks.1", "head"]


def test_a_quantised_file_has_its_own_tolerance(tmp_path: Path) -> None:
    result = verified(small_vit(depth=2), tmp_path, precision="int8-dynamic")
    assert result.comparison.tolerance == 0.08
    assert result.made_of is not None
    path = tmp_path / "model_int8-dynamic.tflite"
    source = tmp_path / "source.pth"
    tight = verify(path, source=source, arithmetic="float16", tolerance=1e-4)
    assert tight.comparison.tolerance == 1e-4
    assert not tight.passed


def test_json_has_it_all(tmp_path: Path) -> None:
    result = verified(scaled_from(1, 1e6, small_vit(depth=3)), tmp_path)
    found = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert found["arithmetic"] == "float16"
    assert found["float16"]["first_bad"]["overflow_of"] == "FULLY_CONNECTED"
    assert found["float16"]["blocks"][0]["name"] == "embeddings"
    assert found["float16"]["blocks"][0]["largest"] < LARGEST


def test_only_a_tflite_file_is_computed_in_float16(tmp_path: Path) -> None:
    lay_out(small_vit(depth=1), tmp_path)
    with pytest.raises(UsageError, match="only TFLite") as caught:
        verify(tmp_path / "model.h5", source=tmp_path / "source.pth", arithmetic="float16")
    assert caught.value.where == "--arithmetic float16"


def test_a_delegate_has_an_arithmetic_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="arithmetic") as caught:
        verify("m.tflite", source="s.pth", arithmetic="float16", delegate="gpu")
    assert "--delegate gpu" in caught.value.expected
