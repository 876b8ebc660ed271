"""A program that uses every public name as people do. It is never run: tests/test_typing.py has
mypy and pyright check it, strictly. What must be an error is marked: a mark on what is none is one.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from PIL import Image
from typing_extensions import assert_type

import vit_convert
from vit_convert import Progress


def tell(step: str, done: int = 0, total: int = 0, part: int = 0, parts: int = 1, /) -> None:
    print(step, done, total, part, parts)


def convert_checkpoints(folder: Path) -> vit_convert.Conversion:
    assert_type(vit_convert.__version__, str)
    warnings.simplefilter("error", vit_convert.AssumptionWarning)
    warnings.simplefilter("error", vit_convert.PictureWarning)
    warnings.simplefilter("error", vit_convert.QuantisationWarning)
    options = vit_convert.read_options(folder / "options.toml")
    assert_type(options, vit_convert.Options)
    checkpoint = vit_convert.open_checkpoint(folder / "model.pth", key="ema")
    assert_type(checkpoint, vit_convert.Checkpoint)
    print(vit_convert.recognise(checkpoint, options.overrides).facts)
    stated = vit_convert.Overrides(num_heads=3, gelu="tanh", image_size=(192, 256))
    vit_convert.Overrides(gelu="gelu")  # type: ignore[arg-type]
    found = vit_convert.convert(checkpoint, stated, labels=["ant", "bee"], progress=tell)
    assert_type(found, vit_convert.Conversion)
    conversion = vit_convert.torch2keras(
        folder / "model.pth",
        "model.h5",
        overrides=stated,
        labels=vit_convert.read_labels(folder / "labels.txt"),
        pos_embed="bicubic",
        progress=tell,
    )
    vit_convert.torch2keras("a.pth", "a.h5", label=["ant"])  # type: ignore[call-arg]
    vit_convert.torch2keras("a.pth", "a.h5", **options.arguments())
    assert_type(vit_convert.keras2torch("model.h5", folder / "back.safetensors"), str)
    words = vit_convert.zero_shot(folder, ["ant", "bee"], "words.h5", templates=("a {}",))
    print(vit_convert.tokenize(folder, ["an ant", "a bee"]).shape)
    assert_type(words, vit_convert.ZeroShot)
    assert_type(conversion.path, Path | None)
    assert_type(conversion.to_json(), str)
    return conversion


def make_models(seed: int) -> list[tuple[int, ...]]:
    model = vit_convert.create_model(
        "vit_tiny_patch16_224", image_size=32, pool="avg", drop_rate=0.1, seed=seed
    )
    vit_convert.create_model("vit_tiny_patch16_224", num_head=3)  # type: ignore[call-arg]
    vit_convert.create_model("vit_tiny_patch16_224", pool="mean")  # type: ignore[arg-type]
    vit_convert.load_model("model.h5", drop_path=0.1)  # type: ignore[call-arg]
    loaded = vit_convert.load_model("model.h5", num_classes=5, drop_path_rate=0.1)
    return [parameter.shape for each in (model, loaded) for parameter in each.spec.parameters()]


def export_models(folder: Path) -> list[Path]:
    options = vit_convert.ExportOptions(precision="int8", calibration=folder / "pictures")
    vit_convert.ExportOptions(precision="int4")  # type: ignore[arg-type]
    written = vit_convert.export_all("model.h5", [("tflite", options)], folder, progress=tell)
    assert_type(written, list[vit_convert.Exported])
    assert_type(vit_convert.export("model.h5", ["saved_model"], folder), list[Path])
    return [each.path for each in written if each.passed]


def check(artifact: Path, opened: vit_convert.Artifact) -> bool:
    result = vit_convert.verify(artifact, source="model.pth", delegate="gpu", progress=tell)
    assert_type(result, vit_convert.VerifyResult)
    assert_type(result.verdict.text, str)
    picture = Image.new("RGB", (9, 9))
    results = vit_convert.verify([artifact, opened], source="model.pth", images=picture)
    assert_type(results, list[vit_convert.VerifyResult])
    vit_convert.verify(artifact, source="model.pth", delegate="tpu")  # type: ignore[call-overload]
    recorded = vit_convert.record("models:make", "logits.npz", images=[b"", "pictures"])
    assert_type(recorded, vit_convert.Recorded)
    assert_type(vit_convert.benchmark(opened, threads=1), vit_convert.Benchmark)
    assert_type(vit_convert.benchmark(("a.tflite", opened)), list[vit_convert.Benchmark])
    return result.passed and recorded.classes == 7


def run(folder: Path, progress: Progress) -> list[str]:
    opened = vit_convert.open_artifact(folder / "model.tflite")
    pixels = np.zeros((30, 40, 3), np.uint8)
    said = vit_convert.predict(opened, "picture.jpg", top=1, unreadable="warn", progress=progress)
    assert_type(said, list[vit_convert.Prediction])
    several = vit_convert.predict(
        ["a.tflite", folder / "b.tflite", opened],
        [folder, "picture.jpg", Image.new("RGB", (9, 9)), pixels, b"bytes"],
    )
    assert_type(several, list[list[vit_convert.Prediction]])
    vit_convert.predict(3, "picture.jpg")  # type: ignore[call-overload]
    vit_convert.predict(opened, 3)  # type: ignore[call-overload]
    vit_convert.predict(opened, "picture.jpg", tops=3)  # type: ignore[call-overload]
    assert_type(list(vit_convert.predict_maps(opened, pixels)), list[vit_convert.PictureMap])
    assert_type(vit_convert.evaluate("a.tflite", folder), vit_convert.Evaluation)
    assert_type(vit_convert.evaluate([opened], folder, limit=9), list[vit_convert.Evaluation])
    seen = vit_convert.attention(opened, pixels, block=-1, rollout=True)
    assert_type(seen, list[vit_convert.Attention])
    assert_type(seen[0].png(), bytes)
    vectors = vit_convert.features([opened], "picture.jpg")
    assert_type(vectors, list[list[vit_convert.Features]])
    page = vit_convert.web(opened, "page", samples=[pixels], labels=["ant", "bee"])
    assert_type(page, vit_convert.WebPage)
    assert_type(vit_convert.web(["a.tflite"]), list[vit_convert.WebPage])
    print(vit_convert.nonsense)  # type: ignore[attr-defined]
    return [label for prediction in said for label in prediction.labels]


def explain(folder: Path) -> str:
    try:
        convert_checkpoints(folder)
    except (vit_convert.CheckpointError, vit_convert.RecognitionError) as error:
        return error.hint
    except (vit_convert.MappingError, vit_convert.ArtifactError) as error:
        return error.where
    except (vit_convert.UsageError, vit_convert.OutputError) as error:
        return error.expected
    except (vit_convert.ImageError, vit_convert.MissingDependencyError) as error:
        return error.what
    except vit_convert.VitConvertError as error:
        return error.message()
    return ""
