"""The command line as CLI.md promises it: names, outputs, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import pytest
import torch
from commands import Done
from families import small_vit
from PIL import Image

from vit_convert.cli import cli

STATED = ("--num-heads", "4", "--image-size", "24x50")
pytestmark = pytest.mark.slow  # all artifacts are exported, by the command itself
LABELS = ("ant", "bee", "cat", "dog", "eel", "fox", "gnu")


CommandIn = Callable[..., Done]


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own, which imports TensorFlow anew; most tests have `command_in`."""
    return subprocess.run(
        [sys.executable, "-m", "vit_convert", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """vit.pth, its vit.h5, all exports in out/, recorded logits, and labelled pictures."""
    path = tmp_path_factory.mktemp("project")
    family = small_vit()
    torch.save({"model": family.model.state_dict(), "epoch": 1}, path / "vit.pth")
    (path / "labels.txt").write_text("\n".join(LABELS))
    done = run(path, "torch2keras", "vit.pth", *STATED, "--labels", "labels.txt")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("vit.h5: Vision Transformer")
    assert "warning: gelu is assumed to be erf" in done.stderr
    assert "--gelu changes it" in done.stderr
    assert "a wrong value gives wrong answers, and no error" in done.stderr
    assert "'model'" in done.stderr
    (path / "out").mkdir()
    done = run(path, "export", "-o", "out", "--precision", "float32", "--precision", "float16")
    assert done.returncode == 0, done.stderr
    images = family.images(6)
    np.savez(path / "reference.npz", images=images, logits=family.logits(images))
    rng = np.random.default_rng(0)
    for i in range(14):
        home = path / "pictures" / LABELS[i % 7]
        home.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (30, 60, 3), np.uint8)).save(home / f"{i}.png")
    (path / "pictures" / "ant" / "broken.png").write_bytes(b"no picture")
    return path


ARTIFACTS = (
    "vit.h5",
    "out/vit_saved_model",
    "out/vit_hub",
    "out/vit_float32.tflite",
    "out/vit_float16.tflite",
)


def test_export_writes_what_the_contract_names(folder: Path) -> None:
    assert sorted(p.name for p in (folder / "out").iterdir()) == sorted(
        Path(name).name for name in ARTIFACTS[1:]
    )


@pytest.mark.parametrize("artifact", ARTIFACTS)
def test_verify_against_recorded_logits(artifact: str, folder: Path, command_in: CommandIn) -> None:
    done = command_in(folder, "verify", artifact, "--reference", "reference.npz", "--json")
    assert done.code == 0, done.err
    result = json.loads(done.out)
    assert result["passed"] is True
    assert result["comparison"]["relative"] <= (5e-3 if "16" in artifact else 1e-5)


def test_verify_against_the_source(folder: Path, command_in: CommandIn) -> None:
    done = command_in(folder, "verify", "out/vit_float32.tflite", "--source", "vit.pth")
    assert done.code == 0, done.err
    assert "timm" in done.out


def test_verify_that_falls_short_exits_with_1_and_names_the_block(
    folder: Path, command_in: CommandIn
) -> None:
    family = small_vit()
    with torch.no_grad():
        family.model.blocks[1].mlp.fc2.weight[3, 5] += 1
    torch.save(family.model.state_dict(), folder / "other.pth")
    done = command_in(folder, "verify", "vit.h5", "--source", "other.pth")
    assert done.code == 1, done.err
    assert "blocks.1" in done.out
    assert "blocks.2" not in done.out


def test_verify_exits_with_1_below_the_tolerance(folder: Path, command_in: CommandIn) -> None:
    done = command_in(
        folder, "verify", "vit.h5", "--reference", "reference.npz", "--tolerance", "1e-12"
    )
    assert done.code == 1


def test_benchmark_gives_the_figures_of_each_artifact(folder: Path, command_in: CommandIn) -> None:
    command = ("benchmark", "vit.h5", "out/vit_float32.tflite", "--runs", "2", "--threads", "1")
    done = command_in(folder, *command, "--json")
    assert done.code == 0, done.err
    result = json.loads(done.out)
    assert (result["threads"], result["runs"]) == (1, 2)
    keras, tflite = result["artifacts"]
    assert (keras["path"], keras["kind"], keras["ratio"]) == ("vit.h5", "keras", 1)
    assert tflite["size_bytes"] == (folder / "out/vit_float32.tflite").stat().st_size
    assert tflite["delegated"] == tflite["operations"] > 50
    for each in (keras, tflite):
        assert 0 < each["minimum_ms"] <= each["median_ms"] <= each["p90_ms"]
    text = command_in(folder, command[0], *command[2:]).out  # without the Keras model
    assert "out/vit_float32.tflite" in text
    assert "batch 1; threads 1; 2 inferences of each" in text


def test_benchmark_of_no_artifact_exits_with_2(folder: Path, command_in: CommandIn) -> None:
    done = command_in(folder, "benchmark", "labels.txt")
    assert (done.code, done.out) == (2, "")
    assert "labels.txt: is no artifact" in done.err


def test_predict_shows_the_best_classes(folder: Path, command_in: CommandIn) -> None:
    picture = "pictures/bee/1.png"
    done = command_in(folder, "predict", "vit.h5", picture, "--top", "3", "--json")
    assert done.code == 0, done.err
    (found,) = json.loads(done.out)["predictions"]
    assert found["path"] == picture
    assert len(found["labels"]) == 3
    assert set(found["labels"]) <= set(LABELS)
    assert found["probabilities"] == sorted(found["probabilities"], reverse=True)
    text = command_in(folder, "predict", "vit.h5", picture, "--top", "3").out
    assert [line.split()[-1] for line in text.splitlines()[1:]] == found["labels"]


def test_predictions_are_those_of_timms_pipeline(folder: Path, command_in: CommandIn) -> None:
    from vit_convert.parity.sources.torch_compat import import_vision

    family = small_vit()
    import_vision("timm")
    from timm.data import create_transform

    transform = create_transform(
        (3, 24, 50), interpolation="bicubic", mean=(0.5,) * 3, std=(0.5,) * 3, crop_pct=0.9
    )
    picture = folder / "pictures/fox/5.png"
    with torch.inference_mode():
        batch = transform(Image.open(picture).convert("RGB"))[None]
        expected = family.model(batch).softmax(1)[0].numpy()
    for artifact in ARTIFACTS[:4]:
        done = command_in(folder, "predict", artifact, str(picture), "--top", "7", "--json")
        (found,) = json.loads(done.out)["predictions"]
        got = np.empty(7)
        got[found["classes"]] = found["probabilities"]
        np.testing.assert_allclose(got, expected, atol=1e-4)


def test_evaluate_compares_artifacts_and_lists_what_it_cannot_read(
    folder: Path, command_in: CommandIn
) -> None:
    done = command_in(folder, "evaluate", *ARTIFACTS[:4], "pictures", "--json")
    assert done.code == 0, done.err
    results = json.loads(done.out)["artifacts"]
    assert [r["path"] for r in results] == list(ARTIFACTS[:4])
    for result in results:
        assert result["images"] == 14
        assert result["agreement"] == 100
        assert result["top1"] == results[0]["top1"]
        assert len(result["unreadable"]) == 1
    assert results[0]["top5"] > results[0]["top1"]
    limited = command_in(folder, "evaluate", "vit.h5", "pictures", "--limit", "5", "--json")
    assert json.loads(limited.out)["artifacts"][0]["images"] <= 5


def test_inspect_tells_how_each_value_is_known(folder: Path, command_in: CommandIn) -> None:
    done = command_in(folder, "inspect", "vit.pth")
    # neither the heads nor the grid of this model can be known from its shapes
    assert done.code == 2
    assert "blocks.{0..2}.attn.qkv.weight" in done.out
    assert "the number of attention heads is not known" in done.err


def test_inspect_of_a_published_model(tmp_path: Path, command_in: CommandIn) -> None:
    from vit_convert.architectures import architecture
    from vit_convert.checkpoint import write_safetensors

    family = architecture("cait")
    config = next(v.config for v in family.variants if v.name == "cait_xxs24_224")
    arrays = {p.name: np.ones(p.shape, np.float16) for p in family.parameters(config)}
    write_safetensors(tmp_path / "model.safetensors", arrays)
    done = command_in(tmp_path, "inspect", "model.safetensors", "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["variant"] == "cait_xxs24_224"
    assert found["values"]["num_heads"] == {
        "value": 4, "known": "read", "why": "from names and shapes",
    }  # fmt: skip
    assert found["values"]["gelu"]["known"] == "assumed"
    assert found["values"]["gelu"]["models"] == ["cait_xxs24_224"]
    text = command_in(tmp_path, "inspect", "model.safetensors").out
    assert "model: CaiT, with the shapes of cait_xxs24_224" in text
    assert "blocks_token_only.{0..1}.attn.q.weight" in text


def test_export_finds_the_only_model(folder: Path, tmp_path: Path, command_in: CommandIn) -> None:
    (tmp_path / "alone.h5").write_bytes((folder / "vit.h5").read_bytes())
    done = command_in(tmp_path, "export", "--tflite")
    assert done.code == 0, done.err
    assert (tmp_path / "alone_float32.tflite").is_file()
    assert not (tmp_path / "alone_hub").exists()


def test_json_is_all_that_stdout_gets(folder: Path) -> None:
    for command in (
        ("verify", "out/vit_float32.tflite", "--reference", "reference.npz"),
        ("predict", "out/vit_float32.tflite", "pictures/bee/1.png"),
        ("evaluate", "out/vit_saved_model", "pictures", "--limit", "2"),
    ):
        json.loads(run(folder, *command, "--json").stdout)


def test_tensorflow_is_quiet(folder: Path, tmp_path: Path) -> None:
    done = run(folder, "export", "vit.h5", "-o", str(tmp_path))
    assert done.returncode == 0
    assert all(line.startswith("exporting vit.h5: ") for line in done.stderr.splitlines())


def test_version_names_what_it_runs_on(tmp_path: Path) -> None:
    done = run(tmp_path, "--version")
    assert done.returncode == 0
    for package in ("vit-convert", "tensorflow", "ai-edge-litert", "torch"):
        assert f"{package} " in done.stdout


@pytest.mark.parametrize("name", cli.commands)
def test_every_command_and_option_has_help(name: str) -> None:
    command = cli.commands[name]
    assert command.help
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name
