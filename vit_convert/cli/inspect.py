"""vit-convert inspect."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vit_convert.cli import console, options
from vit_convert.cli.inspect_artifact import STYLES, inspect_artifact, inspect_tflite

if TYPE_CHECKING:
    from vit_convert.architectures.base import Tower
    from vit_convert.checkpoint import Checkpoint
    from vit_convert.conversion.convert import Conversion
    from vit_convert.errors import VitConvertError

_LONGEST = 60  # characters of what stands beside the weights


@click.command()
@click.argument("checkpoint", type=options.PATH)
@click.option("--key", metavar="NAME", help="Which nested state dict to look at.")
@click.option("--dialect", type=options.DIALECT, help="The naming scheme it has.")
@options.rules
@options.tower
@click.option(
    "--rules-template", is_flag=True, help="Print a rule file to fill in, for a scheme of your own."
)
@click.option(
    "--config-template",
    is_flag=True,
    help="Print a file of options for torch2keras --config: all values, and how each is known.",
)
@options.as_json
def inspect(
    checkpoint: Path,
    key: str | None,
    dialect: str | None,
    rules: Path | None,
    tower: Tower | None,
    rules_template: bool,
    config_template: bool,
    as_json: bool,
) -> None:
    """Tell what a checkpoint holds and how each value of its configuration is known.

    Artifacts (.h5, SavedModel, TF Hub module, .tflite) tell it too, and what they came from.

    Of a .tflite file, whoever made it, the operations, ranks, types and precisions are shown, and
    the defects known of phones' runtimes that it runs into.

    Exits with 2 if the file can be read but is no model that can be converted; the tensors are
    shown all the same.
    """
    from vit_convert.checkpoint import open_checkpoint
    from vit_convert.conversion.convert import recognise
    from vit_convert.errors import CheckpointError, VitConvertError

    among = options.among(rules, dialect, tower)
    try:
        file = open_checkpoint(checkpoint, key)
    except CheckpointError:
        if not (inspect_tflite(checkpoint, as_json) or inspect_artifact(checkpoint, as_json)):
            raise
        return
    if rules_template:
        from vit_convert.dialects.template import rules_template as template

        console.out(template(file.tensors))
        return
    if config_template:
        from vit_convert.statements.option_template import options_template

        told = recognise(file, among=among)
        which = file.key if len(file.candidates) > 1 else None
        console.out(options_template(told.spec, told.recognition, file.path.name, which))
        return
    try:
        found: Conversion | VitConvertError = recognise(file, among=among)
    except VitConvertError as error:
        found = error
    if as_json:
        console.out_json(_as_dict(file, found))
    else:
        _print(file, found)
    if isinstance(found, VitConvertError):
        raise found


def _as_dict(file: Checkpoint, found: Conversion | VitConvertError) -> dict[str, Any]:
    from vit_convert.conversion.assumptions import provenances
    from vit_convert.conversion.convert import Conversion

    data: dict[str, Any] = {
        "file": str(file.path),
        "format": file.format,
        "key": file.key,
        "candidates": list(file.candidates),
        "bytes": file.size,
        "parameters": _count(file),
        "beside": {name: _short(value) for name, value in file.extras.items()},
        "tensors": {n: {"shape": t.shape, "dtype": t.dtype} for n, t in file.tensors.items()},
    }
    if isinstance(found, Conversion):
        data |= {
            "architecture": found.spec.architecture,
            "variant": found.recognition.variant,
            "dialect": found.ledger.dialect.name,
            "prefix": found.ledger.prefix,
            "values": provenances(found.facts),
            "ignored": found.ledger.ignored,
        }
    else:
        data["error"] = found.message()
    return data


def _print(file: Checkpoint, found: Conversion | VitConvertError) -> None:
    from vit_convert.conversion.assumptions import Assumptions, reasons
    from vit_convert.conversion.convert import Conversion
    from vit_convert.conversion.name_table import collapse_indices, readable

    console.out(f"{file.path}: {file.format}, {console.megabytes(file.size)}")
    if file.key or len(file.candidates) > 1:
        others = [c or "(top level)" for c in file.candidates if c != file.key]
        also = f"; also there: {', '.join(others)} (--key)" if others else ""
        console.out(f"state dict: {file.key or '(top level)'}{also}")
    if file.extras:
        beside = (f"{name}: {_short(value)}" for name, value in file.extras.items())
        console.out(f"beside the weights: {'; '.join(beside)}")
    console.out(f"parameters: {_count(file):,} in {len(file.tensors)} tensors")
    if isinstance(found, Conversion):
        console.out(f"model: {_model(found)}")
        prefix = f" behind {found.ledger.prefix!r}" if found.ledger.prefix else ""
        console.out(f"names: {found.ledger.dialect.title}{prefix}")
        facts = found.recognition.facts
        console.table(
            ("value", "is", "known", "why"),
            [(n, readable(f.value), f.provenance, reasons(f)) for n, f in facts.items()],
            styles=[STYLES.get(fact.provenance, "") for fact in facts.values()],
        )
        if Assumptions.of(found.recognition).open:
            console.out("what is assumed can be stated with the options of torch2keras")
        for name, reason in found.ledger.ignored_by_reason():
            console.out(f"ignored: {name}: {reason}")
    rows = collapse_indices((n, f"{readable(t.shape)} {t.dtype}") for n, t in file.tensors.items())
    console.table(("tensor", "shape and type"), rows)


def _model(found: Conversion) -> str:
    from vit_convert.architectures import architecture
    from vit_convert.conversion.assumptions import model_of

    return f"{architecture(found.spec.architecture).title}, {model_of(found.recognition)}"


def _short(value: Any) -> str:
    """A glance at something of any size."""
    if isinstance(value, (dict, list, tuple)) and len(value) > 3:
        return f"{len(value)} entries"
    from vit_convert.checkpoint.inert import glance, printable

    text = printable(value) if isinstance(value, str) else glance(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _count(file: Checkpoint) -> int:
    return sum(math.prod(tensor.shape) for tensor in file.tensors.values())
