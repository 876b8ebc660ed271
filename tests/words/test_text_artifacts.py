"""Text towers as artifacts, against transformers' `get_text_features`."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file
from words.towers import CONTEXT, KINDS, TEXT, made, text_embeddings, token_ids

import vit_convert
from vit_convert.architectures import ModelSpec, Overrides
from vit_convert.architectures.text.examples import example_tokens
from vit_convert.cli import cli
from vit_convert.conversion.h5_file import ReadTensors, open_keras, write_h5
from vit_convert.errors import UsageError, VitConvertError
from vit_convert.exporters import ExportOptions, export, open_artifact
from vit_convert.exporters.tflite.graph_reader import TfliteGraph
from vit_convert.exporters.tflite.lint import findings
from vit_convert.parity.recorded import record_reference

Made = tuple[Any, Any, Path, Path]  # model, tokenizer, its folder, the .h5
TEXTS = ["a photo of a bird.", "A Great Spotted   woodpecker", "the cat, drawing", "dog"]
# of the lookup: indices in one row, which is what the GPU accelerator takes
OF_THE_LOOKUP = {"low-rank", "heads-as-batch"}


@pytest.fixture(scope="module")
def tower(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Made]:
    known: dict[str, Made] = {}

    def make(kind: str) -> Made:
        if kind not in known:
            folder = tmp_path_factory.mktemp(kind)
            model, tokenizer = made(kind, folder / "source")
            vit_convert.torch2keras(folder / "source", folder / "text.h5", tower="text")
            known[kind] = model, tokenizer, folder / "source", folder / "text.h5"
        return known[kind]

    return make


def tflite(h5: Path, **options: Any) -> Path:
    return export(h5, ["tflite"], h5.parent, ExportOptions(**options), force=True)[0]


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def distance(got: np.ndarray, expected: np.ndarray) -> float:
    assert got.shape == expected.shape
    return float(np.abs(got - expected).max() / np.abs(expected).max())


def all_tokens(kind: str, h5: Path, tokenizer: Any) -> np.ndarray:
    """Of real texts, of made-up ones, of one that ends twice and of one that never does."""
    with open_keras(h5) as (spec, _):
        config = spec.config
    tokens = [token_ids(kind, tokenizer, TEXTS).numpy(), example_tokens(config, 3)]
    odd = example_tokens(config, 4)[2:]
    end = config.vocab_size - 1 if config.end_token is None else config.end_token
    odd[0, [3, 9]] = end
    odd[1][odd[1] == end] = 1
    return np.concatenate([*tokens, odd]).astype(np.int32)


@pytest.mark.parametrize("kind", KINDS)
def test_a_tflite_file_gives_transformers_embeddings(
    kind: str, tower: Callable[[str], Made]
) -> None:
    model, tokenizer, source, h5 = tower(kind)
    tokens = all_tokens(kind, h5, tokenizer)
    expected = text_embeddings(model, torch.from_numpy(tokens.astype(np.int64)))
    (got,) = open_artifact(tflite(h5, output="features")).run(tokens).values()
    assert distance(got, expected) < 1e-5
    file = tflite(h5)
    ((name, got),) = open_artifact(file).run(tokens).items()
    assert name == "embedding"
    assert distance(got, unit(expected)) < 1e-5
    result = vit_convert.verify(file, source=source, profile=True)
    assert result.comparison.relative < 1e-5
    assert "Model of transformers" in result.reference
    assert result.profile is not None
    blocks = [block for block in result.profile.blocks if block.passed]
    assert [block.name for block in blocks] == ["embeddings", "blocks.0", "blocks.1", "blocks.2"]


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_keras_gives_them_too(kind: str, tower: Callable[[str], Made], tmp_path: Path) -> None:
    model, tokenizer, _, h5 = tower(kind)
    tokens = all_tokens(kind, h5, tokenizer)
    expected = unit(text_embeddings(model, torch.from_numpy(tokens.astype(np.int64))))
    opened = vit_convert.load_model(h5)
    assert distance(opened(tokens).numpy(), expected) < 1e-5
    opened.save(tmp_path / "saved.keras")
    again = vit_convert.load_model(tmp_path / "saved.keras")
    assert np.array_equal(again(tokens).numpy(), opened(tokens).numpy())


def test_a_saved_model_gives_them_too(tower: Callable[[str], Made], tmp_path: Path) -> None:
    model, tokenizer, source, h5 = tower("clip")
    tokens = all_tokens("clip", h5, tokenizer)
    expected = unit(text_embeddings(model, torch.from_numpy(tokens.astype(np.int64))))
    (saved,) = export(h5, ["saved_model"], tmp_path)
    ((name, got),) = open_artifact(saved).run(tokens).items()
    assert name == "embedding"
    assert distance(got, expected) < 1e-5
    import tensorflow as tf

    loaded = tf.saved_model.load(str(saved))
    assert distance(loaded.serve(tf.constant(tokens)).numpy(), expected) < 1e-5
    assert vit_convert.verify(saved, source=source).comparison.passed


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_a_hub_module_gives_them_too(
    kind: str, tower: Callable[[str], Made], tmp_path: Path
) -> None:
    import tensorflow as tf
    import tf_keras

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tensorflow_hub 0.16 imports pkg_resources
        import tensorflow_hub as hub

    model, tokenizer, source, h5 = tower(kind)
    tokens = all_tokens(kind, h5, tokenizer)
    expected = unit(text_embeddings(model, torch.from_numpy(tokens.astype(np.int64))))
    (module,) = export(h5, ["hub"], tmp_path)
    assert distance(hub.load(str(module))(tf.constant(tokens)).numpy(), expected) < 1e-5
    layer = hub.KerasLayer(str(module), input_shape=tokens.shape[1:], dtype=tf.int32)
    wrapped = tf_keras.Sequential([layer])
    assert distance(wrapped(tf.constant(tokens)).numpy(), expected) < 1e-5
    assert vit_convert.verify(module, source=source).comparison.passed


@pytest.mark.parametrize(
    ("kind", "precision", "allowed"),
    [("clip", "float16", 5e-3), ("clip", "int8-dynamic", 0.08), ("siglip", "int8-dynamic", 0.08)],
)
def test_smaller_files(
    kind: str, precision: Any, allowed: float, tower: Callable[[str], Made]
) -> None:
    _, _, source, h5 = tower(kind)
    file = tflite(h5, precision=precision)
    result = vit_convert.verify(file, source=source)
    assert result.comparison.relative < allowed
    assert (result.made_of is None) == (precision == "float16")
    assert result.made_of is None or result.made_of.relative < 1e-5
    table = next(t for t in TfliteGraph(file).tensors if t.name == "token_embed.weight")
    assert table.type == ("float16" if precision == "float16" else "int8")


@pytest.mark.parametrize("size", [3, "dynamic"])
def test_any_batch(size: Any, tower: Callable[[str], Made]) -> None:
    model, tokenizer, _, h5 = tower("clip")
    tokens = all_tokens("clip", h5, tokenizer)
    expected = unit(text_embeddings(model, torch.from_numpy(tokens.astype(np.int64))))
    (got,) = open_artifact(tflite(h5, batch_size=size)).run(tokens).values()
    assert distance(got, expected) < 1e-5


@pytest.mark.parametrize("precision", ["float32", "float16", "int8-dynamic"])
@pytest.mark.parametrize("kind", ["clip", "clip-legacy", "siglip"])
def test_no_form_but_that_of_the_lookup_is_known_to_be_refused(
    kind: str, precision: Any, tower: Callable[[str], Made]
) -> None:
    graph = TfliteGraph(tflite(tower(kind)[3], precision=precision))
    for rule in {finding.rule for finding in findings(graph)}:
        assert rule.name in OF_THE_LOOKUP
        for place in rule.check(graph):
            assert place.operation is not None
            assert graph.operations[place.operation].block in ("embeddings", "pool")


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("kind", "precision"),
    [
        ("clip", "float32"),
        ("clip", "float16"),
        ("clip-legacy", "int8-dynamic"),
        ("siglip", "float32"),
    ],
)
def test_it_is_whole_and_right_on_the_gpu(
    kind: str, precision: Any, tower: Callable[[str], Made]
) -> None:
    _, _, source, h5 = tower(kind)
    result = vit_convert.verify(tflite(h5, precision=precision), source=source, delegate="gpu")
    assert result.gpu is not None
    assert result.gpu.on_gpu == result.gpu.operations
    assert result.comparison.passed


def test_it_is_right_in_float16(tower: Callable[[str], Made]) -> None:
    _, _, source, h5 = tower("clip")
    result = vit_convert.verify(tflite(h5), source=source, arithmetic="float16")
    assert result.comparison.relative < 0.02


def test_what_no_text_tower_is(tower: Callable[[str], Made]) -> None:
    with open_keras(tower("clip")[3]) as (spec, _):
        stored = spec.to_dict()
    for change in ({"end_token": None}, {"end_token": 96}, {"context_length": 1 << 20}):
        with pytest.raises(ValueError, match=r"end token|context of"):
            ModelSpec.from_dict({**stored, "config": {**stored["config"], **change}})


def test_mistakes_are_seen(tower: Callable[[str], Made], tmp_path: Path) -> None:
    _, _, source, h5 = tower("clip")
    for change in ({"causal": False}, {"gelu": "tanh"}, {"num_heads": 2}, {"pool": "last"}):
        with open_keras(h5) as (spec, weights):
            write_h5(tmp_path / "wrong.h5", spec.with_config(**change), weights)
        assert not vit_convert.verify(tflite(tmp_path / "wrong.h5"), source=source).passed


@pytest.mark.parametrize("kind", ["clip", "siglip2-naflex"])
def test_the_way_back_gives_every_tensor(
    kind: str, tower: Callable[[str], Made], tmp_path: Path
) -> None:
    _, _, source, h5 = tower(kind)
    vit_convert.keras2torch(h5, tmp_path / "back.safetensors")
    back, there = load_file(tmp_path / "back.safetensors"), load_file(source / "model.safetensors")
    assert back.keys() == {name for name in there if name.startswith("text_")}
    assert all(torch.equal(back[name], there[name]) for name in back)


def test_open_clip_names_give_the_same(tower: Callable[[str], Made], tmp_path: Path) -> None:
    _, _, source, h5 = tower("clip-legacy")
    state = open_clip_state(load_file(source / "model.safetensors"))
    save_file(state, tmp_path / "open_clip_model.safetensors")
    heads = Overrides(num_heads=TEXT["num_attention_heads"])
    with pytest.warns(vit_convert.AssumptionWarning):
        vit_convert.torch2keras(tmp_path, tmp_path / "o.h5", tower="text", overrides=heads)
    with open_keras(h5) as (spec, weights), open_keras(tmp_path / "o.h5") as (other, arrays):
        assert other.config == spec.config
        for name, array in ReadTensors(weights).items():
            assert np.array_equal(array, arrays[name].read()), name
    tokens = example_tokens(spec.config, 3)
    (expected,) = open_artifact(tflite(h5, output="features")).run(tokens).values()
    recorded = tmp_path / "recorded.npz"
    record_reference(recorded, tokens, expected)
    file = tflite(tmp_path / "o.h5")
    assert vit_convert.verify(file, reference=recorded).comparison.passed
    with pytest.raises(UsageError, match="only those of transformers"):
        vit_convert.verify(file, source=tmp_path / "open_clip_model.safetensors")
    record_reference(recorded, tokens + spec.config.vocab_size, expected)
    with pytest.raises(UsageError, match="there are tokens from"):
        vit_convert.verify(file, reference=recorded)


def open_clip_state(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A text tower of transformers under OpenAI's and open_clip's names."""
    names = {
        r"embeddings\.token_embedding": "token_embedding",
        r"embeddings\.position_embedding\.weight": "positional_embedding",
        r"final_layer_norm": "ln_final",
        r"encoder\.layers": "transformer.resblocks",
        r"self_attn\.out_proj": "attn.out_proj",
        r"layer_norm([12])": r"ln_\1",
        r"mlp\.fc1": "mlp.c_fc",
        r"mlp\.fc2": "mlp.c_proj",
    }
    found = {"text_projection": state["text_projection.weight"].T.contiguous()}
    for name, tensor in state.items():
        if not name.startswith("text_model.") or re.search(r"[kv]_proj", name):
            continue
        other = name.removeprefix("text_model.")
        for pattern, replacement in names.items():
            other = re.sub(pattern, replacement, other)
        if part := re.fullmatch(r"(.+)\.self_attn\.q_proj\.(weight|bias)", other):
            parts = [state[name.replace("q_proj", f"{p}_proj")] for p in "qkv"]
            found[f"{part[1]}.attn.in_proj_{part[2]}"] = torch.cat(parts)
        else:
            found[other] = tensor
    return found


def test_what_takes_pictures_refuses_it(tower: Callable[[str], Made], tmp_path: Path) -> None:
    from PIL import Image

    h5 = tower("clip")[3]
    file, picture = tflite(h5), tmp_path / "class" / "picture.png"
    picture.parent.mkdir()
    Image.new("RGB", (9, 9)).save(picture)
    refusing: list[Callable[[], object]] = [
        lambda: vit_convert.predict(file, picture),
        lambda: vit_convert.features(file, picture),
        lambda: vit_convert.evaluate(file, tmp_path),
        lambda: vit_convert.attention(file, picture),
        lambda: vit_convert.web(file, tmp_path / "page"),
    ]
    for refuse in refusing:
        with pytest.raises(UsageError, match="takes tokens of texts"):
            refuse()
    for arguments in (
        ["predict", str(file), str(picture)],
        ["finetune", str(h5), str(tmp_path)],
        ["verify", str(file), "--source", str(tower("clip")[2]), "--images", str(tmp_path)],
    ):
        ran = CliRunner().invoke(cli, arguments)
        assert isinstance(ran.exception, UsageError)
        assert "takes tokens of texts" in ran.exception.what


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "int8", "calibration": Path()}, "takes tokens, and no pictures"),
        ({"embed_preprocessing": True}, "takes tokens, and no pixels"),
        ({"attention": True}, "gives no attention maps"),
        ({"output": "tokens"}, "does not give that"),
        ({"output": "softmax"}, "no head for classes"),
    ],
)
def test_what_a_text_tower_has_not_is_refused(
    options: dict[str, Any], message: str, tower: Callable[[str], Made], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        export(tower("clip")[3], ["tflite"], tmp_path, ExportOptions(**options))
    assert not [*tmp_path.iterdir()]


def test_the_command_line(tower: Callable[[str], Made], tmp_path: Path) -> None:
    _, _, source, _ = tower("clip")
    h5 = tmp_path / "clip_text.h5"

    def ran(*arguments: str | Path) -> str:
        result = CliRunner().invoke(cli, [*map(str, arguments)])
        assert result.exit_code == 0, result.output
        return result.output

    assert "text tower" in ran("torch2keras", source, "--tower", "text", "-o", h5)
    said = json.loads(ran("inspect", h5, "--json"))
    assert said["architecture"] == "text"
    assert "mean" not in said["values"]
    ran("export", h5, "--tflite", "-o", tmp_path)
    file = tmp_path / "clip_text_float32.tflite"
    shown = ran("inspect", file)
    assert f"input: 1 x {CONTEXT} tokens of a text, int32" in shown
    assert "output: 15 for each text" in shown
    report = tmp_path / "report.html"
    told = ran("verify", file, "--source", source, "--report", report)
    assert "CLIPModel of transformers" in told
    assert " on 4 texts" in " ".join(told.split())
    assert "4 texts with" in report.read_text()
    ran("export", source, "--tower", "text", "--tflite", "-o", tmp_path / "direct")
    direct = tmp_path / "direct" / "source_float32.tflite"
    assert direct.stat().st_size == pytest.approx(file.stat().st_size, abs=200)
    assert "token_embedding" in ran("inspect", source, "--tower", "text")
    (timing,) = vit_convert.benchmark([file], runs=4)
    assert timing.operations is not None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["torch2keras", "{source}", "--tower", "text", "--image-size", "32"], "says nothing of a"),
        (["torch2keras", "{source}", "--tower", "text", "--dialect", "clip"], "no naming scheme"),
        (["torch2keras", "{image}", "--tower", "text"], "holds no text tower"),
        (["export", "{h5}", "--tower", "text"], "is converted already"),
    ],
)
def test_wrong_commands_write_nothing(
    arguments: list[str], message: str, tower: Callable[[str], Made], tmp_path: Path
) -> None:
    _, _, source, h5 = tower("clip")
    image = Path(__file__).parents[1] / "goldens/dialects/timm-vit/model.pth"
    filled = [a.format(source=source, h5=h5, image=image) for a in arguments]
    ran = CliRunner().invoke(cli, [*filled, "-o", str(tmp_path / "out")])
    assert isinstance(ran.exception, VitConvertError)
    assert message in ran.exception.what
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_words_become_tokens(kind: str, tower: Callable[[str], Made]) -> None:
    _, tokenizer, source, _ = tower(kind)
    found = vit_convert.tokenize(source, TEXTS)
    assert found.dtype == np.int32
    assert found.tolist() == token_ids(kind, tokenizer, TEXTS).tolist()
    with pytest.raises(VitConvertError, match="is too long"):
        vit_convert.tokenize(source, ["bird " * 90])
    with pytest.raises(UsageError, match="a list"):
        vit_convert.tokenize(source, "bird")
