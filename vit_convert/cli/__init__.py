"""The command line: options in, library call, result out.

Commands import what they need when they run: `--help` imports neither TensorFlow nor NumPy.
"""

from __future__ import annotations

import logging
import signal
import sys
from itertools import chain, takewhile
from typing import Any

import click

from vit_convert.cli import console
from vit_convert.cli.attention import attention
from vit_convert.cli.benchmark import benchmark
from vit_convert.cli.completion import completion
from vit_convert.cli.evaluate import evaluate
from vit_convert.cli.export import export
from vit_convert.cli.features import features
from vit_convert.cli.finetune import finetune
from vit_convert.cli.inspect import inspect
from vit_convert.cli.keras2torch import keras2torch
from vit_convert.cli.predict import predict
from vit_convert.cli.record import record
from vit_convert.cli.torch2keras import torch2keras
from vit_convert.cli.train import train
from vit_convert.cli.verify import verify
from vit_convert.cli.web import web
from vit_convert.cli.zero_shot import zero_shot
from vit_convert.errors import VitConvertError
from vit_convert.runtime.signals import Stopped, stoppable, uninterrupted

_SIGNAL = 128  # what shells add to the number of the signal that ended a program


def _print_versions(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if not value or ctx.resilient_parsing:
        return
    from vit_convert.runtime.versions import versions

    for i, (name, version) in enumerate(versions().items()):
        console.out(f"{'  ' if i else ''}{name} {version or 'not installed'}")
    ctx.exit()


_SECTIONS: dict[str, tuple[click.Command, ...]] = {
    "Convert": (inspect, torch2keras, zero_shot, keras2torch, export),
    "Train": (train, finetune),
    "Check": (verify, record, evaluate, benchmark),
    "Use": (predict, attention, features, web),
    "Set up": (completion,),
}


class _Group(click.Group):
    """Commands in sections, that signals end as they end other programs, once they have cleaned
    up."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands section by section, each with a whole sentence."""
        for title, commands in _SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(str(c.name), c.get_short_help_str(200)) for c in commands])

    def invoke(self, ctx: click.Context) -> Any:
        """Run one."""
        number = 0
        with stoppable() as signals:
            try:
                return super().invoke(ctx)
            except KeyboardInterrupt:
                number = int(signal.SIGINT)
            except Stopped as stopped:
                number = stopped.number
            except Exception:  # what became of a signal, where one has come: see `stoppable`
                if not signals:
                    raise
                number = signals[-1]
            with uninterrupted() as ignored:
                console.note("stopped; no output is half written")
                ignored.clear()
        ctx.exit(_SIGNAL + number)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--quiet", "amount", flag_value="quiet", help="Show warnings and errors only.")
@click.option("--verbose", "amount", flag_value="verbose", help="Show every step.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_versions,
    help="Show the versions of vit-convert and of what it runs on.",
)
def cli(amount: console.Amount | None, debug: bool) -> None:
    """Turn PyTorch ViT and CaiT checkpoints into TensorFlow artifacts that are proven equal.

    `vit-convert COMMAND --help` tells what a command does and what it takes.
    """
    console.show(amount or "normal")
    if debug:
        logging.basicConfig(level=logging.INFO)
        logging.getLogger("vit_convert").setLevel(logging.DEBUG)
    else:
        console.show_log()


for _command in chain.from_iterable(_SECTIONS.values()):
    cli.add_command(_command)


def main() -> None:
    """Run the command line; exit codes are 0 (done), 1 (a check fell short), 2 (bad input)."""
    debug = "--debug" in takewhile(lambda word: word.startswith("-"), sys.argv[1:])
    try:
        cli(prog_name="vit-convert")
    except VitConvertError as error:
        if debug:
            raise
        console.error(error)
        sys.exit(2)
    except (OSError, MemoryError) as error:
        if debug:
            raise
        console.error(_refused_by_system(error))
        sys.exit(2)
    except Exception as error:
        if debug:
            raise
        console.error(
            VitConvertError(
                f"{type(error).__name__}: {error}",
                where="a bug in vit-convert",
                hint=f"vit-convert --debug {' '.join(sys.argv[1:])}, and report what it prints",
            )
        )
        sys.exit(2)


def _refused_by_system(error: OSError | MemoryError) -> VitConvertError:
    """What to say where the system gives no memory, no file or no more space."""
    if isinstance(error, MemoryError):
        return VitConvertError("there is not enough memory", hint="a machine with more of it")
    return VitConvertError(
        f"the system refuses: {error.strerror or error}",
        where=str(error.filename or ""),
        hint="vit-convert --debug shows what was being done",
    )
