"""Finds where an artifact and its reference part: the first block that differs."""

from __future__ import annotations

import numpy as np

from vit_convert.exporters import Artifact
from vit_convert.exporters.artifact import Outputs
from vit_convert.parity.compare import (
    BlockDifference,
    as_output,
    block_differences,
    compare,
    first_difference,
    relative_differences,
)
from vit_convert.parity.inputs import to_input_range
from vit_convert.parity.references import Sample, comparable
from vit_convert.parity.result import Profile


def profile_of(
    artifact: Artifact,
    sample: Sample,
    expected: list[np.ndarray],
    got: list[np.ndarray],
    tolerance: float,
) -> Profile:
    """The difference of every output and block.

    Args:
        artifact: what is verified.
        sample: images with the reference's blocks.
        expected, got: batches of outputs (n, ..., values).
        tolerance: for the logits.
    """
    blocks: Outputs = {}
    if artifact.blocks is not None and sample.blocks:
        blocks = artifact.blocks(to_input_range(sample.images, artifact)[0])
    reference = comparable(sample.blocks, blocks, artifact.spec, artifact.output)
    return Profile(
        outputs=relative_differences(np.concatenate(expected), np.concatenate(got)),
        blocks=tuple(block_differences(reference, blocks, tolerance)) if blocks else (),
    )


def locate(
    artifact: Artifact, sample: Sample, tolerance: float, tolerance_of_output: float
) -> tuple[BlockDifference | None, str]:
    """The first block that differs, and where the difference begins in words."""
    if artifact.blocks is None:
        return None, (
            "not known: this kind of artifact does not show its blocks; "
            "verify the .h5 that it was exported from"
        )
    if not sample.blocks:
        return None, sample.no_blocks
    inputs, _ = to_input_range(sample.images, artifact)
    blocks = artifact.blocks(inputs)
    if not blocks:
        return None, (
            "not known: reading the blocks out of the graph changes what it computes; "
            "--delegate cpu tells whether the file itself is right"
        )
    difference = first_difference(
        comparable(sample.blocks, blocks, artifact.spec, artifact.output), blocks, tolerance
    )
    if difference is not None:
        return difference, difference.name
    expected = as_output(sample.outputs, artifact.output)
    if compare(expected, artifact.first_output(inputs), tolerance_of_output).passed:
        return None, (
            "not known: the images whose blocks were recorded agree; --source CHECKPOINT tells"
        )
    return None, "after the last block: the final norm, pooling or the head"
