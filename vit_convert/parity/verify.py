"""Verifies an artifact: runs it and its source, compares them, and finds where they part."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import get_args, overload

import numpy as np

from vit_convert.errors import UsageError, described
from vit_convert.exporters import Artifact, artifact_size
from vit_convert.exporters.given import ArtifactLike, given_artifacts, opened
from vit_convert.images.pictures import Pictures, given_pictures
from vit_convert.parity.compare import (
    as_output,
    compare,
    default_tolerance,
    tolerance_for_softmax,
)
from vit_convert.parity.evidence import check_options, open_evidence
from vit_convert.parity.float16 import verify_in_float16
from vit_convert.parity.float32_parity import compare_float32
from vit_convert.parity.gpu.delegate import on_gpu
from vit_convert.parity.inputs import check_images, to_input_range
from vit_convert.parity.locating import locate, profile_of
from vit_convert.parity.references import Reference
from vit_convert.parity.result import Delegate, Numbers, VerifyResult, not_run
from vit_convert.parity.search import search, shared_assumptions
from vit_convert.progress import Progress, of_part, silent


@overload
def verify(  # type: ignore[overload-overlap]  # a text is a path, and no list
    artifacts: ArtifactLike,
    *,
    source: str | Path | None = None,
    reference: str | Path | None = None,
    model: str | None = None,
    images: Pictures | None = None,
    tolerance: float | None = None,
    key: str | None = None,
    delegate: Delegate = "cpu",
    arithmetic: Numbers = "float32",
    profile: bool = False,
    progress: Progress = silent,
) -> VerifyResult: ...


@overload
def verify(
    artifacts: Iterable[ArtifactLike],
    *,
    source: str | Path | None = None,
    reference: str | Path | None = None,
    model: str | None = None,
    images: Pictures | None = None,
    tolerance: float | None = None,
    key: str | None = None,
    delegate: Delegate = "cpu",
    arithmetic: Numbers = "float32",
    profile: bool = False,
    progress: Progress = silent,
) -> list[VerifyResult]: ...


def verify(
    artifacts: ArtifactLike | Iterable[ArtifactLike],
    *,
    source: str | Path | None = None,
    reference: str | Path | None = None,
    model: str | None = None,
    images: Pictures | None = None,
    tolerance: float | None = None,
    key: str | None = None,
    delegate: Delegate = "cpu",
    arithmetic: Numbers = "float32",
    profile: bool = False,
    progress: Progress = silent,
) -> VerifyResult | list[VerifyResult]:
    """Compare artifacts with their source checkpoint, or with what that gave when it was recorded.

    What no tensor says (number of heads, GELU, epsilon, pooling) the source is run with as the
    artifact states it. Only your own model, or logits that it gave, can tell that such a statement
    is wrong; then the assumed values are changed one after the other, until the logits are equal.

    Args:
        artifacts: the path of an artifact, an open one, or several of either.
        source: the checkpoint, run in PyTorch.
        reference: an .npz of `record_reference`. One of `source` and `reference` must be given.
        model: "module:function" of your own model, which `source` is then run in; the function
            takes no arguments and gives a `torch.nn.Module`. Your code is run.
        images: pictures to run, with `source`, as `predict` takes them; random images by default.
        tolerance: the largest |difference| / max |reference| that passes; by the artifact's
            precision by default. The float32 that a quantised artifact was made of is always held
            to that of float32.
        key: which state dict of the checkpoint.
        delegate: "gpu" runs a TFLite file on LiteRT's GPU accelerator, without a CPU fallback.
        arithmetic: "float16" computes a TFLite file as a phone's GPU does, by
            `vit_convert.exporters.tflite.runtime`.
        profile: tell the difference of every output and block.
        progress: told what is being done.

    Returns:
        the largest |difference| of the logits (n, classes), absolute and over the largest |logit|
        of the reference, whether that is within the tolerance, and where it begins; of several
        artifacts a list, in their order.

    Raises:
        UsageError: something is no artifact or picture, or options do not fit together or do not
            fit the artifact.
        ArtifactError: the artifact or the recording is broken.
        MissingDependencyError: `source` is given and PyTorch or timm is not installed, or the GPU
            is asked for and there is none.
        VitConvertError: the checkpoint or a picture cannot be read.
    """
    given = given_artifacts(artifacts)
    check_options(source, reference, model, images, key)
    pictures = None if images is None else given_pictures(images, "images")
    if arithmetic == "float16" and delegate == "gpu":
        raise UsageError(
            "a delegate has an arithmetic of its own",
            where="--arithmetic float16",
            expected="either --arithmetic float16 or --delegate gpu",
        )
    for option, value, words in (
        ("delegate", delegate, get_args(Delegate)),
        ("arithmetic", arithmetic, get_args(Numbers)),
    ):
        if value not in words:
            expected = " or ".join(map(repr, words))
            raise UsageError(f"cannot be {described(value)}", where=option, expected=expected)

    def compared(artifact: Artifact | Path, progress: Progress) -> VerifyResult:
        started = time.perf_counter()
        progress("opening the artifact")
        open_one = opened(artifact)
        progress("opening what it is compared with")
        evidence = open_evidence(open_one, source, reference, model, pictures, key)
        result = _verified(open_one, evidence, tolerance, delegate, arithmetic, profile, progress)
        if model is None and source is not None:
            result = replace(result, assumed=shared_assumptions(open_one.spec))
        elif _may_be_assumed_wrong(result):
            found = search(open_one, evidence, source, key, progress)
            result = replace(result, search=found)
        return replace(result, seconds=time.perf_counter() - started)

    count = len(given.each)
    results = [
        compared(one, of_part(progress, path.name, part, count))
        for part, (one, path) in enumerate(zip(given.each, given.paths, strict=True))
    ]
    return results if given.several else results[0]


def _verified(
    artifact: Artifact,
    evidence: Reference,
    tolerance: float | None,
    delegate: Delegate,
    arithmetic: Numbers,
    profile: bool,
    progress: Progress,
) -> VerifyResult:
    """Compare an open artifact with a reference, on a processor and in an arithmetic."""
    if arithmetic == "float16":

        def check(opened: Artifact, rounding: float | None) -> VerifyResult:
            return verify_artifact(opened, evidence, tolerance, profile, progress, rounding)

        return verify_in_float16(artifact, evidence.num_images, check, progress)
    if delegate == "cpu":
        return verify_artifact(artifact, evidence, tolerance, profile, progress)
    progress("compiling for the GPU")
    with on_gpu(artifact) as (report, accelerated):
        if accelerated is None:
            result = not_run(artifact, evidence.description, report)
        else:
            result = verify_artifact(accelerated, evidence, tolerance, profile, progress)
            if not result.comparison.passed:
                on_cpu = verify_artifact(artifact, evidence, tolerance)
                result = replace(result, note=_blame(on_cpu, result.note))
    return replace(result, delegate=delegate, gpu=report)


def _may_be_assumed_wrong(result: VerifyResult) -> bool:
    """Whether the float32 model may differ from its reference, and not the artifact alone."""
    if result.made_of is not None:
        return not result.made_of.passed
    return result.verdict.word == "differs" and not result.comparison.problem


def verify_artifact(
    artifact: Artifact,
    reference: Reference,
    tolerance: float | None = None,
    profile: bool = False,
    progress: Progress = silent,
    rounding: float | None = None,
) -> VerifyResult:
    """Compare an open artifact with a reference; see `verify`. `rounding` is the tolerance by
    default, where it is not that of the artifact's precision."""
    started = time.perf_counter()
    output, examples = artifact.output, artifact.spec.input().examples
    outputs, expected, got, notes = [], [], [], set()
    worst, worst_distance = None, -1.0
    done = 0
    for sample in reference.batches():
        progress(f"comparing outputs of {examples}", done, reference.num_images)
        done += len(sample.images)
        check_images(sample.images, artifact)
        inputs, note = to_input_range(sample.images, artifact)
        notes.add(note)
        got.append(artifact.first_output(inputs))
        outputs.append(sample.outputs)
        expected.append(as_output(sample.outputs, output))
        distances = _distances(expected[-1], got[-1])
        if worst is None or distances.max() > worst_distance:
            index = int(distances.argmax())
            worst, worst_distance = sample.images[index : index + 1], float(distances.max())
    assert worst is not None
    noise = rounding or default_tolerance(artifact)
    noise_of_output = noise
    if output.kind == "probabilities":
        noise_of_output = tolerance_for_softmax(noise, np.concatenate(outputs))
    limit = tolerance or noise
    limit_of_output = tolerance or noise_of_output
    made_of, note = compare_float32(artifact, reference)
    notes.add(note)
    comparison = compare(np.concatenate(expected), np.concatenate(got), limit_of_output)
    difference, where = None, ""
    if profile or not comparison.passed:
        progress("comparing blocks")
        sample = reference.with_blocks(worst)
    if not comparison.passed:
        difference, where = locate(artifact, sample, limit, limit_of_output)
    elif made_of is not None and not made_of.passed:
        where = (
            "the float32 that it was made of (relative difference "
            f"{made_of.relative:.1e}, {made_of.tolerance:g} allowed); verify an export of "
            "--precision float32 to see the block"
        )
    return VerifyResult(
        artifact=artifact.path,
        kind=artifact.kind,
        size=artifact_size(artifact.path),
        output=artifact.options.output,
        has_classes=output.has_classes,
        examples=examples,
        comparison=comparison,
        num_images=sum(len(e) for e in expected),
        reference=reference.description,
        first_difference=difference,
        where=where,
        note="; ".join(sorted(notes - {""})),
        seconds=time.perf_counter() - started,
        profile=profile_of(artifact, sample, expected, got, limit) if profile else None,
        made_of=made_of,
        precision=artifact.options.precision,
        rounding=noise_of_output,
        measured=artifact.measured,
        tolerance_of_blocks=limit,
    )


def _blame(on_cpu: VerifyResult, note: str) -> str:
    """Whether it is the GPU or the file that is wrong, for the note of a failure on the GPU."""
    blame = (
        "the same file is right on the CPU: the GPU computes something else"
        if on_cpu.comparison.passed
        else "the same file differs on the CPU too"
    )
    return f"{blame}; {note}" if note else blame


def _distances(expected: np.ndarray, got: np.ndarray) -> np.ndarray:
    """The largest |difference| of each image; infinite where the outputs cannot be compared."""
    if expected.shape != got.shape:
        return np.full(len(expected), np.inf)
    distances = np.abs(expected.astype(np.float64) - got).reshape(len(expected), -1).max(axis=1)
    return np.where(np.isnan(distances), np.inf, distances)
