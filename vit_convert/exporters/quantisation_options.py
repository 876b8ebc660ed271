"""The options that only int8 precisions of TFLite have, and whether they fit together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from vit_convert.errors import UsageError
from vit_convert.exporters.options import CALIBRATED, QUANTISED, ExportOptions

Jobs = Sequence[tuple[str, ExportOptions]]  # (name of the target, its options)


def check_quantisation(jobs: Jobs) -> None:
    """Look at what is asked for before anything is written.

    Args:
        jobs: (name of the target, its options), one for each artifact.

    Raises:
        UsageError: int8 without calibration images; these, or layers to keep in float, without
            int8; or layers that are no patterns.
    """
    _check_calibration(jobs)
    _check_keep_float(jobs)


def relevant(name: str, options: ExportOptions) -> ExportOptions:
    """The options of an artifact without those that say nothing about it."""
    return options if _is_quantised((name, options)) else replace(options, keep_float="auto")


def _check_calibration(jobs: Jobs) -> None:
    """Raises UsageError for int8 without calibration images, and for these without int8."""
    precisions = [options.precision for name, options in jobs if name == "tflite"]
    lacking = [o.precision for n, o in jobs if n == "tflite" and not o.calibration]
    for precision in set(lacking) & set(CALIBRATED):
        raise UsageError(
            "quantises activations, whose ranges only images show, and no images were given",
            where=f"--precision {precision}",
            expected="--calibration FOLDER: a few hundred pictures of the kind that the model sees",
            hint="--precision int8-dynamic, which needs none",
        )
    if any(options.calibration for _, options in jobs) and not set(precisions) & set(QUANTISED):
        raise UsageError(
            "calibration images are for int8 precisions of TFLite, and none is asked for",
            where="--calibration",
            expected=f"--tflite with --precision {' or '.join(QUANTISED)}",
        )


def _check_keep_float(jobs: Jobs) -> None:
    """Raises UsageError for layers to keep in float that are no patterns, or without int8."""
    chosen = [options.keep_float for _, options in jobs if options.keep_float != "auto"]
    for keep_float in chosen:
        if isinstance(keep_float, str) and keep_float != "none":
            raise UsageError(
                f"{keep_float!r} is a text, and patterns come in a tuple",
                where="keep_float",
                expected='"auto", "none", or patterns of names of layers',
                hint=f"keep_float=({keep_float!r},)",
            )
    if chosen and not any(map(_is_quantised, jobs)):
        raise UsageError(
            "which layers stay in float is asked of int8 precisions of TFLite, and none is asked "
            "for",
            where="--keep-float",
            expected=f"--tflite with --precision {' or '.join(QUANTISED)}",
        )


def _is_quantised(job: tuple[str, ExportOptions]) -> bool:
    name, options = job
    return name == "tflite" and options.precision in QUANTISED
