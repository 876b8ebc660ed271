"""vit-convert export."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vit_convert.cli import console, options

if TYPE_CHECKING:
    from vit_convert.exporters import QuantisationReport

_ONE_IN = 100  # pictures, of which 99 % leave room for one


@click.command()
@click.argument("model", type=options.PATH, required=False)
@click.option("--saved-model", is_flag=True, help="Write <name>_saved_model/.")
@click.option("--hub", is_flag=True, help="Write <name>_hub/, a TF Hub module.")
@click.option("--tflite", is_flag=True, help="Write <name>_<precision>.tflite.")
@click.option("-o", "folder", type=options.PATH, default=Path("."), help="Where to write.")
@click.option(
    "--precision",
    "precisions",
    type=click.Choice(["float32", "float16", "int8-dynamic", "int8", "int16x8"]),
    multiple=True,
    default=("float32",),
    show_default=True,
    help="Of the TFLite file; may be repeated. int8-dynamic: weights in int8. int8: activations of "
    "linear layers too. int16x8: weights in int8 and activations in int16, for NPUs. The last two "
    "need --calibration.",
)
@click.option(
    "--calibration",
    type=options.PATH,
    metavar="DIR",
    help="Pictures, at least 16. One half of each class calibrates int8 and int16x8 and chooses "
    "the layers that stay in float; the other half measures the agreement with float32.",
)
@click.option("--batch-size", type=options.BatchSize(), help="[default: dynamic; 1 for TFLite]")
@click.option("--attention", is_flag=True, help="Give the attention maps too.")
@click.option(
    "--output",
    type=click.Choice(["logits", "softmax", "features"]),
    default="logits",
    show_default=True,
    help="What the model gives.",
)
@click.option(
    "--embed-preprocessing",
    is_flag=True,
    help="Take RGB in 0..255. MediaPipe needs it where mean or std differ between channels.",
)
@click.option(
    "--input-type",
    type=click.Choice(["uint8", "float32"]),
    default="uint8",
    show_default=True,
    help="Of the pixels that a TFLite file takes with --embed-preprocessing. GPU delegates of "
    "phones take float32.",
)
@options.force
def export(
    model: Path | None,
    saved_model: bool,
    hub: bool,
    tflite: bool,
    folder: Path,
    precisions: tuple[Any, ...],
    force: bool,
    **settings: Any,
) -> None:
    """Turn a Keras .h5 file into a SavedModel, a TF Hub module and TFLite files.

    Without MODEL it takes the one converted .h5 of the current folder. Without a target option it
    writes all three.

    An int8 file is compared with its own float32, on those of the calibration pictures that had no
    part in making it. Exits with 1, the file written, if both give the same class for less than
    99 % of them, and tells which layers cost most. The file carries what was measured, and `verify`
    repeats it.
    """
    from vit_convert.exporters import ExportOptions, artifact_size, export_all

    chosen = [n for n, on in (("saved_model", saved_model), ("hub", hub), ("tflite", tflite)) if on]
    jobs: list[tuple[str, ExportOptions]] = []
    for target in chosen or ["saved_model", "hub", "tflite"]:
        if target == "tflite":
            each = [ExportOptions(precision=p, **settings) for p in dict.fromkeys(precisions)]
        else:
            each = [ExportOptions(**settings)]
        jobs += [(target, setting) for setting in each]
    source = model or _only_model()
    with console.progress(f"exporting {source.name}") as progress:
        artifacts = export_all(source, jobs, folder, force=force, progress=progress)
    for artifact in artifacts:
        console.out(f"{artifact.path}: {console.megabytes(artifact_size(artifact.path))}")
        if artifact.report:
            _show(artifact.report)
    raise SystemExit(0 if all(artifact.passed for artifact in artifacts) else 1)


def _show(report: QuantisationReport) -> None:
    for name in report.unreadable:
        console.warn(f"not read: {name}")
    found = report.difference
    console.out(
        f"  against its float32 ({console.megabytes(report.float_size)}): "
        f"{report.measurement.sentence}, cosine similarity {found.cosine:.5f}, "
        f"max |difference| {found.max_abs:.1e} (relative {found.relative:.1e})"
    )
    console.out(f"  measured on {report.source}")
    for cost in report.in_float:
        console.out(f"  computes in float: {cost}")
    if not report.passed:
        console.out(f"  FALLS SHORT: {report.measurement.sentence}")
        if report.measurement.images < _ONE_IN:
            console.out(
                f"  of fewer than {_ONE_IN} pictures not one may differ; a few hundred tell more"
            )
    for cost in report.costs:
        console.out(f"  costs most: {cost}")


def _only_model() -> Path:
    from vit_convert.errors import UsageError
    from vit_convert.exporters.keras_h5 import KERAS_H5

    found = sorted(p for p in Path().glob("*.h5") if KERAS_H5.matches(p))
    if len(found) == 1:
        return found[0]
    raise UsageError(
        f"there are {len(found)}: {', '.join(map(str, found))}" if found else "there is none",
        where="converted .h5 files in the current folder",
        expected="exactly one, or MODEL given",
        hint=f"vit-convert export {found[0]}" if found else "vit-convert torch2keras CHECKPOINT",
    )
