"""The process in which one of several inputs is converted or exported; many.py starts it."""

from __future__ import annotations

from typing import Any

from vit_convert.cli.converting import ExportedModel, convert_file, export_file
from vit_convert.conversion.summary import ConversionSummary
from vit_convert.progress import silent
from vit_convert.runtime.signals import Stopped, stoppable
from vit_convert.runtime.worker_process import serve


class Doing:
    """What it can be asked to do."""

    def converting(self, arguments: Any) -> ConversionSummary:
        """As `convert_file`, without the progress.

        Raises:
            VitConvertError: as `convert_file`.
        """
        checkpoint, target, stated, force = arguments
        return convert_file(checkpoint, target, stated, force, silent)

    def exporting(self, arguments: Any) -> ExportedModel:
        """As `export_file`, without the progress.

        Raises:
            VitConvertError: as `export_file`.
        """
        source, jobs, folder, force, tower = arguments
        return export_file(source, jobs, folder, force, tower, silent)


def main() -> None:
    """Answer requests until there are none, or until a signal stops this process."""
    try:
        with stoppable():
            serve(Doing)
    except (Stopped, KeyboardInterrupt):
        return
