"""vit-convert export."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vit_convert.cli import console, options

if TYPE_CHECKING:
    from vit_convert.architectures.base import Tower
    from vit_convert.cli.converting import ExportedModel
    from vit_convert.exporters import QuantisationReport
    from vit_convert.exporters.options import KeepFloat

_ONE_IN = 100  # pictures, of which 99 % leave room for one


def _keep_float(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> KeepFloat:
    """`ExportOptions.keep_float`."""
    alone: dict[tuple[str, ...], KeepFloat] = {(): "auto", ("auto",): "auto", ("none",): "none"}
    if value not in alone and {"auto", "none"} & {*value}:
        raise click.BadParameter("auto and none stand alone, without another --keep-float")
    return alone.get(value, value)


@click.command()
@click.argument("models", type=options.PATH, nargs=-1, metavar="[MODEL|CHECKPOINT]...")
@click.option("--saved-model", is_flag=True, help="Write <name>_saved_model/.")
@click.option("--hub", is_flag=True, help="Write <name>_hub/, a TF Hub module.")
@click.option("--tflite", is_flag=True, help="Write <name>_<precision>.tflite.")
@click.option(
    "-o",
    "folder",
    type=options.PATH,
    metavar="DIR",
    default=Path("."),
    help="Where to write; made if need be.",
)
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
@click.option(
    "--keep-float",
    type=options.Name(lambda: ("auto", "none")),
    multiple=True,
    metavar="auto|none|PATTERN",
    callback=_keep_float,
    help="Linear layers of int8 files that stay in float. auto: where less than 99 % of the "
    "calibration pictures agree, those that a search finds to cost most. none: no search, every "
    "layer is quantised. PATTERN: no search, the layers whose names it matches, such as "
    "'blocks.0.*'; may be repeated.  [default: auto]",
)
@click.option("--batch-size", type=options.BatchSize(), help="[default: dynamic; 1 for TFLite]")
@click.option("--attention", is_flag=True, help="Give the attention maps too.")
@click.option(
    "--output",
    type=click.Choice(["logits", "softmax", "sigmoid", "features", "embedding", "tokens"]),
    default="logits",
    show_default=True,
    help="What the model gives. embedding: a vector of length 1 for search (CLIP's projection, or "
    "what the head would see). tokens: those of the patches, with the last norm applied.",
)
@click.option(
    "--block",
    type=click.IntRange(0),
    metavar="N",
    help="After which block --output tokens takes them, counted from 0.  [default: the last]",
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
@options.tower
@options.jobs
@options.force
@options.as_json
def export(
    models: tuple[Path, ...],
    saved_model: bool,
    hub: bool,
    tflite: bool,
    folder: Path,
    precisions: tuple[Any, ...],
    tower: Tower | None,
    jobs: int | None,
    force: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Turn Keras .h5 and .keras files into SavedModels, TF Hub modules and TFLite files.

    Without MODEL it takes the one converted .h5 or .keras of the current folder. A CHECKPOINT is
    converted first, as torch2keras does without options but --tower. Without a target option it
    writes all three.

    Of several inputs, each is exported in a process of its own with the same options; where one
    fails, the others are exported all the same. Exits with 2 then.

    An int8 file is compared with its own float32, on those of the calibration pictures that had no
    part in making it. Exits with 1, the file written, if both give the same class for less than
    99 % of them, and tells which layers cost most. The file carries what was measured, and `verify`
    repeats it.
    """
    from vit_convert.cli.converting import export_file, targets_in
    from vit_convert.cli.many import as_dicts, done_of_all, made_folder
    from vit_convert.errors import VitConvertError
    from vit_convert.exporters import ExportOptions

    chosen = [n for n, on in (("saved_model", saved_model), ("hub", hub), ("tflite", tflite)) if on]
    wanted: list[tuple[str, ExportOptions]] = []
    for target in chosen or ["saved_model", "hub", "tflite"]:
        if target == "tflite":
            each = [ExportOptions(precision=p, **settings) for p in dict.fromkeys(precisions)]
        else:
            each = [ExportOptions(**settings)]
        wanted += [(target, setting) for setting in each]
    sources = models or (_only_model(),)
    targets_in(folder, sources, "_...")
    if len(sources) == 1:
        (source,) = sources
        with made_folder(folder), console.progress(f"exporting {source.name}") as progress:
            result = export_file(source, wanted, folder, force, tower, progress)
        if as_json:
            _say(result, "")
            console.out_json(result.to_dict())
        else:
            _print(result)
        raise SystemExit(0 if result.passed else 1)
    tasks = [(source, wanted, folder, force, tower) for source in sources]
    at_a_time = options.at_a_time(jobs)
    with made_folder(folder), console.progress("models") as progress:
        results = done_of_all("exporting", tasks, sources, at_a_time, progress, _say)
    failed = [result for result in results if isinstance(result, VitConvertError)]
    passed = all(result.passed for result in results if result not in failed)
    if as_json:
        entries = as_dicts(sources, results)
        console.out_json({"models": entries, "failed": len(failed), "passed": passed})
    else:
        rows, styles = _rows(sources, results)
        console.table(("model", "artifact", "size", "against its float32"), rows, styles=styles)
    raise SystemExit(2 if failed else 0 if passed else 1)


def _rows(sources: Sequence[Path], results: Sequence[Any]) -> tuple[list[Any], list[str]]:
    """Of the table of several models: the cells, and the styles of the rows."""
    from vit_convert.cli.many import failed_row
    from vit_convert.errors import VitConvertError

    rows, styles = [], []
    for source, result in zip(sources, results, strict=True):
        if isinstance(result, VitConvertError):
            rows.append(failed_row(source, result))
            styles.append("red")
            continue
        for artifact in result.artifacts:
            measured = artifact.report.measurement.sentence if artifact.report else "-"
            rows.append(
                (str(source), str(artifact.path), console.megabytes(artifact.size), measured)
            )
            styles.append("" if artifact.passed else "yellow")
    return rows, styles


def _say(result: ExportedModel, name: str) -> None:
    """What goes to stderr."""
    from vit_convert.cli.converting import say

    if result.converted is not None:
        say(result.converted, name)
    for caveat in dict.fromkeys(said for each in result.artifacts for said in each.caveats):
        console.note(f"{name}{caveat}")
    reports = [artifact.report for artifact in result.artifacts if artifact.report]
    for picture in dict.fromkeys(picture for each in reports for picture in each.unreadable):
        console.warn(f"{name}not read: {picture}")


def _print(result: ExportedModel) -> None:
    """The result of one model."""
    _say(result, "")
    for artifact in result.artifacts:
        console.out(f"{artifact.path}: {console.megabytes(artifact.size)}")
        if artifact.report:
            _show(artifact.report)


def _show(report: QuantisationReport) -> None:
    found = report.difference
    console.out(
        f"  against its float32 ({console.megabytes(report.float_size)}): "
        f"{report.measurement.sentence}, cosine similarity {found.cosine:.5f}, "
        f"max |difference| {found.max_abs:.1e} (relative {found.relative:.1e})"
    )
    console.out(f"  measured on {report.source}")
    for kept in report.in_float:
        console.out(f"  computes in float: {kept}")
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

    files = (p for kind in ("*.h5", "*.keras") for p in Path().glob(kind))
    found = sorted(p for p in files if KERAS_H5.matches(p))
    if len(found) == 1:
        return found[0]
    raise UsageError(
        f"there are {len(found)}: {', '.join(map(str, found))}" if found else "there is none",
        where="converted .h5 and .keras files in the current folder",
        expected="exactly one, or MODEL given",
        hint=f"vit-convert export {found[0]}" if found else "vit-convert torch2keras CHECKPOINT",
    )
