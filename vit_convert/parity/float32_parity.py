"""Parity of the float32 model that a quantised artifact was made from.

Rounding to int8 hides most mistakes of a conversion. In small randomised models, the tolerance of
float32 catches 53 mistakes (transposes, swaps, omissions, another GELU or epsilon; see
tests/parity/test_mutations.py). The tolerance of int8-dynamic lets 11 of them pass, and that of
int8 lets 27 pass. So each quantised file carries the outputs of its float32 model for a few
images, and `verify` compares those with the source within the tolerance of float32.
"""

from __future__ import annotations

from vit_convert.exporters import Artifact
from vit_convert.exporters.options import QUANTISED
from vit_convert.exporters.tflite.calibration import probe_images
from vit_convert.parity.compare import (
    TOLERANCES,
    Comparison,
    as_output,
    compare,
    tolerance_for_softmax,
)
from vit_convert.parity.references import Reference


def compare_float32(artifact: Artifact, reference: Reference) -> tuple[Comparison | None, str]:
    """Compare the float32 outputs that a quantised artifact carries with those of its source.

    Returns:
        the comparison, or None where there is nothing to compare; and a note for the user where a
        quantised artifact could not be compared, else "".
    """
    if artifact.options.precision not in QUANTISED:
        return None, ""
    note = "mistakes smaller than what rounding to int8 does go unnoticed: "
    if artifact.float32_outputs is None:
        return None, note + "the file does not tell what its float32 gave; export it again"
    count = len(artifact.float32_outputs)
    outputs = reference.outputs(probe_images(artifact.spec, as_pixels=False, count=count))
    if outputs is None:
        return None, note + (
            "--source CHECKPOINT, or what `record` writes, compares what the file was made of, too"
        )
    limit, output = TOLERANCES["float32"], artifact.output
    if output.unit == "probability":
        limit = tolerance_for_softmax(limit, outputs)
    return compare(as_output(outputs, output), artifact.float32_outputs, limit), ""
