"""Is an artifact equal to the model it came from? Run both, compare, and say where they part."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from vit_convert.errors import UsageError
from vit_convert.exporters import Artifact, artifact_size, open_artifact
from vit_convert.exporters.artifact import Outputs
from vit_convert.parity.compare import (
    BlockDifference,
    as_output,
    block_differences,
    compare,
    default_tolerance,
    first_difference,
    relative_differences,
    tolerance_for_softmax,
)
from vit_convert.parity.float16 import verify_in_float16
from vit_convert.parity.float32_parity import compare_float32
from vit_convert.parity.gpu.delegate import on_gpu
from vit_convert.parity.inputs import check_images, random_images, to_input_range
from vit_convert.parity.recorded import read_reference
from vit_convert.parity.references import (
    LiveReference,
    PictureFolder,
    RecordedReference,
    Reference,
    Sample,
    comparable,
)
from vit_convert.parity.result import Delegate, Numbers, Profile, VerifyResult, not_run
from vit_convert.parity.sources import source_model
from vit_convert.progress import Progress, silent


def verify(
    artifact_path: str | Path,
    *,
    source: str | Path | None = None,
    reference: str | Path | None = None,
    images: str | Path | None = None,
    tolerance: float | None = None,
    key: str | None = None,
    delegate: Delegate = "cpu",
    arithmetic: Numbers = "float32",
    profile: bool = False,
    progress: Progress = silent,
) -> VerifyResult:
    """Compare an artifact with its source checkpoint, or with what that gave when it was recorded.

    What no tensor says (number of heads, GELU, epsilon, pooling) the source is run with as the
    artifact states it; only recorded logits can tell that such a statement is wrong.

    Args:
        artifact_path: any artifact.
        source: the checkpoint, run in PyTorch.
        reference: an .npz of `record_reference`. One of `source` and `reference` must be given.
        images: a folder of pictures to run, with `source`; random images by default.
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
        of the reference, whether that is within the tolerance, and where it begins.

    Raises:
        UsageError: options that do not fit together or do not fit the artifact.
        ArtifactError: the artifact or the recording is broken.
        MissingDependencyError: `source` is given and PyTorch or timm is not installed, or the GPU
            is asked for and there is none.
        VitConvertError: the checkpoint or a picture cannot be read.
    """
    if (source is None) == (reference is None):
        raise UsageError(
            "there must be one thing to compare with"
            if source is None
            else "there are two things to compare with",
            expected="either --source CHECKPOINT or --reference FILE.npz",
        )
    if reference is not None and (images is not None or key is not None):
        raise UsageError(
            "recorded logits belong to the recorded images",
            where="--images" if images is not None else "--key",
            expected="--source CHECKPOINT with it",
        )
    if arithmetic == "float16" and delegate == "gpu":
        raise UsageError(
            "a delegate has an arithmetic of its own",
            where="--arithmetic float16",
            expected="either --arithmetic float16 or --delegate gpu",
        )
    started = time.perf_counter()
    progress("opening the artifact")
    artifact = open_artifact(Path(artifact_path))
    progress("opening what it is compared with")
    evidence = _evidence(artifact, source, reference, images, key)
    if arithmetic == "float16":

        def check(opened: Artifact, rounding: float | None) -> VerifyResult:
            return verify_artifact(opened, evidence, tolerance, profile, progress, rounding)

        result = verify_in_float16(artifact, evidence.num_images, check, progress)
    elif delegate == "cpu":
        result = verify_artifact(artifact, evidence, tolerance, profile, progress)
    else:
        progress("compiling for the GPU")
        with on_gpu(artifact) as (report, accelerated):
            if accelerated is None:
                result = not_run(artifact, evidence.description, report)
            else:
                result = verify_artifact(accelerated, evidence, tolerance, profile, progress)
                if not result.passed:
                    on_cpu = verify_artifact(artifact, evidence, tolerance)
                    result = replace(result, note=_blame(on_cpu, result.note))
        result = replace(result, delegate=delegate, gpu=report)
    return replace(result, seconds=time.perf_counter() - started)


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
    output = artifact.options.output
    outputs, expected, got, notes = [], [], [], set()
    worst, worst_distance = None, -1.0
    done = 0
    for sample in reference.batches():
        progress("comparing outputs of images", done, reference.num_images)
        done += len(sample.images)
        check_images(sample.images, artifact)
        inputs, note = to_input_range(sample.images, artifact)
        notes.add(note)
        got.append(_first_output(artifact, inputs))
        outputs.append(sample.outputs)
        expected.append(as_output(sample.outputs, output))
        distances = _distances(expected[-1], got[-1])
        if worst is None or distances.max() > worst_distance:
            index = int(distances.argmax())
            worst, worst_distance = sample.images[index : index + 1], float(distances.max())
    assert worst is not None
    limit = tolerance or rounding or default_tolerance(artifact)
    limit_of_output = limit
    if output == "softmax" and tolerance is None:
        limit_of_output = tolerance_for_softmax(limit, np.concatenate(outputs))
    made_of, note = compare_float32(artifact, reference)
    notes.add(note)
    comparison = compare(np.concatenate(expected), np.concatenate(got), limit_of_output)
    difference, where = None, ""
    if profile or not comparison.passed:
        progress("comparing blocks")
        sample = reference.with_blocks(worst)
    if not comparison.passed:
        difference, where = _locate(artifact, sample, limit, limit_of_output)
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
        output=output,
        comparison=comparison,
        num_images=sum(len(e) for e in expected),
        reference=reference.description,
        first_difference=difference,
        where=where,
        note="; ".join(sorted(notes - {""})),
        seconds=time.perf_counter() - started,
        profile=_profile(artifact, sample, expected, got, limit) if profile else None,
        made_of=made_of,
    )


def _profile(
    artifact: Artifact,
    sample: Sample,
    expected: list[np.ndarray],
    got: list[np.ndarray],
    tolerance: float,
) -> Profile:
    blocks: Outputs = {}
    if artifact.blocks is not None and sample.blocks:
        blocks = artifact.blocks(to_input_range(sample.images, artifact)[0])
    reference = comparable(sample.blocks, blocks, artifact.spec)
    return Profile(
        outputs=relative_differences(np.concatenate(expected), np.concatenate(got)),
        blocks=tuple(block_differences(reference, blocks, tolerance)) if blocks else (),
    )


def _evidence(
    artifact: Artifact,
    source: str | Path | None,
    reference: str | Path | None,
    images: str | Path | None,
    key: str | None,
) -> Reference:
    """What to compare with: the source run on pictures, or the recording."""
    if reference is not None:
        if artifact.options.output == "features":
            raise UsageError(
                "the artifact gives features, and logits were recorded",
                where=str(artifact.path),
                hint="--source CHECKPOINT",
            )
        return RecordedReference(read_reference(reference), Path(reference).name)
    assert source is not None
    from vit_convert.conversion.convert import open_source

    spec = artifact.spec
    checkpoint, ledger = open_source(Path(source), key, spec)
    pictures = random_images(artifact) if images is None else PictureFolder(images, spec)
    model = source_model(spec, checkpoint, ledger, artifact.options.output == "features")
    return LiveReference(model, pictures, Path(source).name)


def _blame(on_cpu: VerifyResult, note: str) -> str:
    """Whether it is the GPU or the file that is wrong, for the note of a failure on the GPU."""
    blame = (
        "the same file is right on the CPU: the GPU computes something else"
        if on_cpu.passed
        else "the same file differs on the CPU too"
    )
    return f"{blame}; {note}" if note else blame


def _first_output(artifact: Artifact, inputs: np.ndarray) -> np.ndarray:
    return np.asarray(next(iter(artifact.run(inputs).values())))


def _distances(expected: np.ndarray, got: np.ndarray) -> np.ndarray:
    """The largest |difference| of each image; infinite where it cannot be told."""
    if expected.shape != got.shape:
        return np.full(len(expected), np.inf)
    distances = np.abs(expected.astype(np.float64) - got).max(axis=-1)
    return np.where(np.isnan(distances), np.inf, distances)


def _locate(
    artifact: Artifact, sample: Sample, tolerance: float, tolerance_of_output: float
) -> tuple[BlockDifference | None, str]:
    """The first block that differs, and where the difference begins in words."""
    if artifact.blocks is None:
        return None, (
            "not known: this kind of artifact does not show its blocks; "
            "verify the .h5 that it was exported from"
        )
    if not sample.blocks:
        return None, "not known: no blocks were recorded; --source CHECKPOINT tells"
    inputs, _ = to_input_range(sample.images, artifact)
    blocks = artifact.blocks(inputs)
    if not blocks:
        return None, (
            "not known: reading the blocks out of the graph changes what it computes; "
            "--delegate cpu tells whether the file itself is right"
        )
    difference = first_difference(
        comparable(sample.blocks, blocks, artifact.spec), blocks, tolerance
    )
    if difference is not None:
        return difference, difference.name
    expected = as_output(sample.outputs, artifact.options.output)
    if compare(expected, _first_output(artifact, inputs), tolerance_of_output).passed:
        return None, (
            "not known: the images whose blocks were recorded agree; --source CHECKPOINT tells"
        )
    return None, "after the last block: the final norm, pooling or the head"
