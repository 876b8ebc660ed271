"""Option types that several commands share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from vit_convert.runtime.processors import cores

if TYPE_CHECKING:
    from vit_convert.architectures.base import Tower


class ImageSize(click.ParamType):
    """N or HxW -> (height, width)."""

    name = "N|HxW"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, int]:
        """Parse one."""
        if isinstance(value, tuple):
            return value
        parts = value.lower().split("x")
        if len(parts) in (1, 2) and all(part.isdigit() and int(part) > 0 for part in parts):
            return int(parts[0]), int(parts[-1])
        self.fail(f"{value!r} is no image size; expected 224 or 192x256 (height x width)")


class Channels(click.ParamType):
    """R,G,B -> three floats."""

    name = "R,G,B"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[float, float, float]:
        """Parse one."""
        if isinstance(value, tuple):
            return value
        try:
            red, green, blue = (float(part) for part in value.split(","))
        except ValueError:
            self.fail(f"{value!r} is not three numbers; expected R,G,B such as 0.485,0.456,0.406")
        return red, green, blue


class Blocks(click.ParamType):
    """N,N,... -> the numbers."""

    name = "N,N,..."

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, ...]:
        """Parse them."""
        if isinstance(value, tuple):
            return value
        parts = value.split(",")
        if all(part.strip().isdigit() for part in parts):
            return tuple(map(int, parts))
        self.fail(f"{value!r} is no list of blocks; expected numbers such as 2,5,8,11")


class BatchSize(click.ParamType):
    """N or "dynamic"."""

    name = "N|dynamic"

    def convert(self, value: Any, param: Any, ctx: Any) -> int | str:
        """Parse one."""
        if value == "dynamic" or (isinstance(value, int) and value > 0):
            return value
        if str(value).isdigit() and int(value) > 0:
            return int(value)
        self.fail(f"{value!r} is no batch size; expected a positive number or 'dynamic'")


def stem(checkpoint: Path) -> str:
    """The name for a conversion: the checkpoint's folder, or its file without suffixes."""
    if checkpoint.is_dir():
        return checkpoint.resolve().name
    for index in (".safetensors.index.json", ".bin.index.json"):
        if checkpoint.name.endswith(index):
            return checkpoint.name.removesuffix(index)
    return checkpoint.stem


def among(rules: Path | None, dialect: str | None, tower: Tower | None = None) -> list[Any] | None:
    """As `vit_convert.dialects.chosen`, which is imported when it is needed."""
    from vit_convert.dialects import chosen

    return chosen(rules, dialect, tower)


class Block(click.ParamType):
    """N or "last" -> index, -1 for the last."""

    name = "N|last"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        """Parse one."""
        if isinstance(value, int) or str(value).isdigit():
            return int(value)
        if value == "last":
            return -1
        self.fail(f"{value!r} is no block; expected a number from 0 on, or 'last'")


class Name(click.ParamType):
    """One of many names, which the shell completes; the library says which are wrong."""

    name = "NAME"

    def __init__(self, names: Callable[[], Iterable[str]]) -> None:
        self._names = names

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Those that begin like this."""
        names = sorted(name for name in set(self._names()) if name.startswith(incomplete))
        return [CompletionItem(name) for name in names]


def _variants() -> Iterable[str]:
    from vit_convert.architectures import published_names

    return published_names()


def _dialects() -> Iterable[str]:
    from vit_convert.dialects import dialects

    return (dialect.name for dialect in (*dialects(), *dialects("text")))


VARIANT = Name(_variants)
DIALECT = Name(_dialects)
# Existence is checked by the library, whose messages say what to try.
PATH = click.Path(path_type=Path)
rules = click.option(
    "--rules", type=PATH, metavar="FILE", help="A naming scheme of your own (TOML)."
)


def _trust(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    from vit_convert.exporters.graph_trust import TRUST

    if value:
        os.environ[TRUST] = "1"  # so that processes that this one starts trust it too


# Of pictures: a text, because a Path would make s3:/bucket of s3://bucket.
PICTURES = click.Path()
row_format = click.option(
    "--format",
    "form",
    type=click.Choice(["jsonl", "csv", "parquet"]),
    help="Of the rows.  [default: as the name after -o says]",
)
rows_output = click.option(
    "-o",
    "output",
    type=PICTURES,
    metavar="FILE",
    help="Write a row of each picture. What there is of an unfinished FILE is in FILE.partial. "
    "With --ray, a folder of Parquet files, here or in object storage.",
)


def _address(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    from vit_convert.inference.ray_address import check_address

    return None if value is None else check_address(value)


ray = click.option(
    "--ray",
    "ray",
    is_flag=False,
    flag_value="local",
    metavar="[ADDRESS]",
    callback=_address,
    help="Score on a Ray cluster, HOST:PORT or auto; without an address, on one that is started on "
    "this machine.",
)
resume = click.option(
    "--resume", is_flag=True, help="Go on where a run with the same -o was stopped."
)
workers = click.option(
    "--workers",
    type=click.IntRange(1),
    help="Threads, or with --ray actors, that decode and score.  [default: one for each core]",
)
trust = click.option(
    "--trust",
    is_flag=True,
    expose_value=False,
    callback=_trust,
    help="Open a SavedModel whose graph does more than compute, and may read and write files.",
)
jobs = click.option(
    "--jobs",
    type=click.IntRange(1),
    help="Of several inputs, how many at a time.  [default: one for each core, at most 4]",
)


def at_a_time(stated: int | None) -> int:
    """How many inputs are worked on at a time: memory is needed for each."""
    return stated or min(cores(), 4)


tower = click.option(
    "--tower",
    type=click.Choice(["image", "text"]),
    help="Of a model of pictures and texts (CLIP, SigLIP), which part.  [default: image]",
)
force = click.option("--force", is_flag=True, help="Replace an existing output.")
as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
