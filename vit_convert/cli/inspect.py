"""vit-convert inspect."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vit_convert.cli import console, options

if TYPE_CHECKING:
    from vit_convert.checkpoint import Checkpoint
    from vit_convert.conversion import Conversion
    from vit_convert.errors import VitConvertError


@click.command()
@click.argument("checkpoint", type=options.PATH)
@click.option("--key", metavar="NAME", help="Which nested state dict to look at.")
@click.option("--dialect", metavar="NAME", help="The naming scheme it has.")
@options.rules
@click.option(
    "--rules-template", is_flag=True, help="Print a rule file to fill in, for a scheme of your own."
)
@options.as_json
def inspect(
    checkpoint: Path,
    key: str | None,
    dialect: str | None,
    rules: Path | None,
    rules_template: bool,
    as_json: bool,
) -> None:
    """Tell what a checkpoint holds and how each value of its configuration is known.

    Exits with 2 if the file can be read but is no model that can be converted; the tensors are
    shown all the same.
    """
    from vit_convert.checkpoint import open_checkpoint
    from vit_convert.conversion import recognise
    from vit_convert.errors import VitConvertError

    among = options.among(rules, dialect)
    file = open_checkpoint(checkpoint, key)
    if rules_template:
        from vit_convert.dialects.template import rules_template as template

        console.out(template(file.tensors))
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
    from vit_convert.conversion import Conversion

    data: dict[str, Any] = {
        "file": str(file.path),
        "format": file.format,
        "key": file.key,
        "candidates": list(file.candidates),
        "bytes": file.size,
        "parameters": _count(file),
        "tensors": {n: {"shape": t.shape, "dtype": t.dtype} for n, t in file.tensors.items()},
    }
    if isinstance(found, Conversion):
        data |= {
            "architecture": found.spec.architecture,
            "variant": found.recognition.variant,
            "dialect": found.ledger.dialect.name,
            "prefix": found.ledger.prefix,
            "values": {
                name: {"value": fact.value, "known": fact.known, "why": fact.why}
                for name, fact in found.recognition.facts.items()
            },
            "ignored": found.ledger.ignored,
        }
    else:
        data["error"] = found.message()
    return data


def _print(file: Checkpoint, found: Conversion | VitConvertError) -> None:
    from vit_convert.conversion import Conversion
    from vit_convert.folded_names import fold_names

    console.out(f"{file.path}: {file.format}, {console.megabytes(file.size)}")
    if file.key or len(file.candidates) > 1:
        others = [c or "(top level)" for c in file.candidates if c != file.key]
        also = f"; also there: {', '.join(others)} (--key)" if others else ""
        console.out(f"state dict: {file.key or '(top level)'}{also}")
    console.out(f"parameters: {_count(file):,} in {len(file.tensors)} tensors")
    if isinstance(found, Conversion):
        from vit_convert.architectures import architecture

        title = architecture(found.spec.architecture).title
        variant = found.recognition.variant
        console.out(f"model: {title}{f' ({variant})' if variant else ''}")
        prefix = f" behind {found.ledger.prefix!r}" if found.ledger.prefix else ""
        console.out(f"names: {found.ledger.dialect.title}{prefix}")
        console.table(
            ("value", "is", "known", "why"),
            [(n, str(f.value), f.known, f.why) for n, f in found.recognition.facts.items()],
        )
        for name, reason in found.ledger.ignored_by_reason():
            console.out(f"ignored: {name}: {reason}")
    rows = fold_names((n, f"{t.shape} {t.dtype}") for n, t in file.tensors.items())
    console.table(("tensor", "shape and type"), rows)


def _count(file: Checkpoint) -> int:
    import math

    return sum(math.prod(tensor.shape) for tensor in file.tensors.values())
