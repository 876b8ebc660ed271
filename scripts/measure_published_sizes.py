#!/usr/bin/env python3
"""Words, embeddings and depth of models of published sizes, against transformers.

    python scripts/measure_published_sizes.py [--classes N,...] [--repeats N] [--no-gpu] [--json]

A CLIP ViT-B/16 and a Depth Anything V2 Small (518 x 518, and converted for 252 x 252) are made by
transformers, with every parameter randomised, and beside the first a tokenizer of CLIP's kind and
size that learned its words from ImageNet's names. Of the CLIP, `vit-convert zero-shot` makes
classifiers with ImageNet's first N names, each in a process of its own: the first table has the
median of its times, and how far the classifier is from transformers' `logits_per_image`. The second
has |difference| / max |output| to transformers in Keras, as SavedModel, in TFLite on the CPU and on
LiteRT's GPU accelerator, and how many operations run there. Both are Markdown. Exits with 1 where a
difference is above 1e-5, or an operation does not run on the GPU. --tiny takes small models of the
same kinds, to try the script.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from peers.measuring import run
from peers.published import CONTEXT, MODELS
from peers.transformers_models import load, make, outputs, random_images

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from transformers_sources import transformers

from vit_convert.architectures.base import Overrides
from vit_convert.cli import console
from vit_convert.conversion.files import torch2keras
from vit_convert.errors import ArtifactError
from vit_convert.exporters import ExportOptions, export_all, open_artifact
from vit_convert.labels.names import labels_for
from vit_convert.parity.compare import compare
from vit_convert.parity.gpu.delegate import on_gpu
from vit_convert.words.prompts import PHOTO, prompts

LIMIT = 1e-5
IMAGENET = labels_for(1000, ())
ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Words:
    """A classifier that `zero-shot` made.

    Attributes:
        classes: how many it has.
        seconds: of the command, the median.
        relative: |difference| / max |logit| to transformers, in Keras.
    """

    classes: int
    seconds: float
    relative: float


@dataclass(frozen=True)
class Artifacts:
    """|difference| / max |output| of one model's artifacts to transformers.

    Attributes:
        model, output: what was compared.
        keras, saved_model, tflite: on the CPU.
        gpu: on the GPU accelerator; None where it was not tried, took not all, or failed.
        on_gpu, operations: how many of the file's operations the GPU takes.
    """

    model: str
    output: str
    keras: float
    saved_model: float
    tflite: float
    gpu: float | None = None
    on_gpu: int | None = None
    operations: int | None = None


def tokenizer(size: int) -> Any:
    """A tokenizer of CLIP's kind with so many tokens: those that byte-pair encoding learns from
    prompts with `IMAGENET`, as CLIP's knows frequent words; then some that no text has."""
    ends = ("<|startoftext|>", "<|endoftext|>")
    untaught = transformers.CLIPTokenizer(vocab=dict(zip(ends, (0, 1), strict=True)), merges=[])
    taught = untaught.train_new_from_iterator([prompts(IMAGENET, [PHOTO])], size)
    model = json.loads(taught.backend_tokenizer.to_str())["model"]
    tokens = [token for token in model["vocab"] if token not in ends]
    tokens += [f"<|{index}|>" for index in range(len(tokens), size - len(ends))]
    return transformers.CLIPTokenizer(
        vocab={token: index for index, token in enumerate([*tokens, *ends])},
        merges=[tuple(pair) for pair in model["merges"]],
        model_max_length=CONTEXT,
    )


def relative(expected: np.ndarray, found: np.ndarray) -> float:
    return float(compare(expected, found, tolerance=LIMIT).relative)


def artifacts(
    model: str, output: str, h5: Path, images: np.ndarray, expected: np.ndarray, gpu: bool
) -> Artifacts:
    """Export a converted model in every way, and compare each."""
    options = ExportOptions(output=output) if output else ExportOptions()
    jobs = [("saved_model", options), ("tflite", options)]
    exported = export_all(h5, jobs, h5.parent, force=True)
    saved_model, tflite = (open_artifact(one.path) for one in exported)
    keras = open_artifact(h5).first_output(images)
    if output == "embedding":  # an export option: Keras gives what is not yet of length 1
        keras = keras / np.linalg.norm(keras, axis=-1, keepdims=True)
    found = Artifacts(
        model,
        saved_model.output.name,
        relative(expected, keras),
        relative(expected, saved_model.first_output(images)),
        relative(expected, tflite.first_output(images)),
    )
    if not gpu:
        return found
    with on_gpu(tflite) as (report, accelerated):
        there = None
        if accelerated:
            try:
                there = relative(expected, accelerated.first_output(images))
            except ArtifactError as error:  # it takes the graph, and fails when it runs
                console.error(error)
        counts = {"on_gpu": report.on_gpu, "operations": report.operations}
        return Artifacts(**asdict(found) | counts | {"gpu": there})


def words(
    name: str, folder: Path, model: Any, counts: Sequence[int], repeats: int, gpu: bool
) -> tuple[list[Words], Artifacts]:
    """Time `zero-shot`, and compare what it makes; the artifacts are those of the first count."""
    tokens = tokenizer(model.config.text_config.vocab_size)
    tokens.save_pretrained(folder)
    images = random_images(MODELS[name].size, 4)
    pixels = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    found, table = [], None
    for number in counts:
        classes = IMAGENET[:number]
        file, h5 = folder / "classes.txt", folder.parent / f"{number}.h5"
        file.write_text("\n".join(classes))
        command = [sys.executable, "-m", "vit_convert", "zero-shot", folder, "--classes", file]
        runs = [run([*command, "-o", h5, "--force"], PYTHONPATH=str(ROOT)) for _ in range(repeats)]
        texts = prompts(classes, [PHOTO])
        ids = torch.tensor(tokens(texts, padding="max_length", max_length=CONTEXT)["input_ids"])
        with torch.inference_mode():
            expected = model(input_ids=ids, pixel_values=pixels).logits_per_image.numpy()
        found.append(
            Words(
                number,
                median(each["seconds"] for each in runs),
                relative(expected, open_artifact(h5).first_output(images)),
            )
        )
        if table is None:
            table = artifacts(f"{name}, {number} classes", "", h5, images, expected, gpu)
    assert table is not None
    return found, table


def measure(tiny: bool, counts: Sequence[int], repeats: int, gpu: bool) -> dict[str, Any]:
    """Both tables."""
    clip, depth = (
        ("clip_tiny", "depth_anything_tiny")
        if tiny
        else ("clip_vit_base_patch16", "depth_anything_v2_small")
    )
    sizes = {clip: [MODELS[clip].size], depth: [MODELS[depth].size, 28 if tiny else 252]}
    rows = []
    with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of values that are assumed
        for name in sizes:
            folder = Path(scratch, name)
            model = make(name, folder)
            if name == clip:
                timed, row = words(name, folder, model, counts, repeats, gpu)
                rows.append(row)
            del model
            for size in sizes[name]:
                images = random_images(size, 2)
                expected = outputs(load(name, folder), images)
                h5 = Path(scratch, f"{name}_{size}.h5")
                torch2keras(folder, h5, overrides=Overrides(image_size=(size, size)))
                called = f"{name}, {size} x {size}"
                rows.append(artifacts(called, MODELS[name].output, h5, images, expected, gpu))
    return {"zero_shot": timed, "artifacts": rows}


def as_markdown(found: dict[str, Any]) -> str:
    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cells)} |"

    def share(row: Artifacts) -> str:
        return "-" if row.operations is None else f"{row.on_gpu} of {row.operations}"

    heads = (
        ("classes", "seconds", "difference"),
        ("model", "output", "Keras", "SavedModel", "TFLite CPU", "TFLite GPU", "on the GPU"),
    )
    first = [(f"{w.classes}", f"{w.seconds:.1f}", f"{w.relative:.1e}") for w in found["zero_shot"]]
    second = [
        (
            f"`{row.model}`",
            f"`{row.output}`",
            *(f"{value:.1e}" for value in (row.keras, row.saved_model, row.tflite)),
            "-" if row.gpu is None else f"{row.gpu:.1e}",
            share(row),
        )
        for row in found["artifacts"]
    ]
    tables = [
        [line(head), line(["---"] * len(head)), *map(line, rows), ""]
        for head, rows in zip(heads, (first, second), strict=True)
    ]
    return "\n".join(chain.from_iterable(tables))


def good(found: dict[str, Any], gpu: bool) -> bool:
    """Whether all is within the limit, and all of it on the GPU."""
    numbers = [row.relative for row in found["zero_shot"]]
    for row in found["artifacts"]:
        numbers += [row.keras, row.saved_model, row.tflite]
        if gpu:
            numbers.append(np.inf if row.gpu is None else row.gpu)
    return all(number <= LIMIT for number in numbers)  # as NaN is not


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--classes", default="10,100,1000", help="numbers of classes [10,100,1000]")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each command [3]")
    parser.add_argument("--no-gpu", action="store_true", help="leave out the GPU accelerator")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args(given)
    logging.getLogger("transformers").setLevel(logging.ERROR)
    gpu = not arguments.no_gpu
    counts = [int(count) for count in arguments.classes.split(",")]
    found = measure(arguments.tiny, counts, arguments.repeats, gpu)
    versions = {
        name: version(name)
        for name in ("transformers", "torch", "tensorflow", "ai-edge-litert", "tokenizers")
    }
    if arguments.json:
        plain = {key: [asdict(row) for row in rows] for key, rows in found.items()}
        console.out_json({"date": str(date.today()), "versions": versions} | plain)
    else:
        console.out(as_markdown(found))
        console.out(f"{date.today()}, {', '.join(f'{n} {v}' for n, v in versions.items())}")
    sys.exit(0 if good(found, gpu) else 1)


if __name__ == "__main__":
    main()
