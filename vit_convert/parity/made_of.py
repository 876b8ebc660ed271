"""Is the float32 that a quantised artifact was made of equal to the source?

Rounding to int8 hides most mistakes of a conversion. Of 53 in small randomised models (transposes,
swaps, what is left out, another GELU or epsilon; tests/parity/test_mutations.py) that the tolerance
of float32 catches, 11 change the logits by less than that of int8-dynamic allows, and 27 by less
than that of int8 does. So each quantised file carries what its float32 gave for a few images, and
that is held to the tolerance of float32.
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


def compare_made_of(artifact: Artifact, reference: Reference) -> tuple[Comparison | None, str]:
    """What was found, None where it cannot be told; and a note that says so, "" otherwise."""
    if artifact.options.precision not in QUANTISED:
        return None, ""
    note = "mistakes smaller than what rounding to int8 does go unnoticed: "
    if artifact.float32_outputs is None:
        return None, note + "the file does not tell what its float32 gave; export it again"
    count = len(artifact.float32_outputs)
    outputs = reference.outputs(probe_images(artifact.spec, as_pixels=False, count=count))
    if outputs is None:
        return None, note + "--source CHECKPOINT compares what the file was made of, too"
    limit, output = TOLERANCES["float32"], artifact.options.output
    if output == "softmax":
        limit = tolerance_for_softmax(limit, outputs)
    return compare(as_output(outputs, output), artifact.float32_outputs, limit), ""
