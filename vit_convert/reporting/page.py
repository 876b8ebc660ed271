"""The page: one HTML file without scripts, that loads nothing from anywhere."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timezone

from markupsafe import Markup, escape

from vit_convert.conversion.name_table import readable
from vit_convert.parity.report import float16_lines
from vit_convert.parity.result import VerifyResult
from vit_convert.reporting.facts import Subject
from vit_convert.reporting.plots import block_plot, digits_plot, output_plot, range_plot

_LEGEND = {
    "read": "from the names and shapes in the checkpoint",
    "published": "as published for this model",
    "given": "by an option",
    "assumed": "a default, which the checkpoint cannot confirm",
    "": "not recorded in the artifact",
}


def page(subjects: Sequence[Subject], command: str) -> str:
    """The report as HTML. Whatever comes from files is escaped.

    Args:
        subjects: the artifacts, of one source.
        command: that made this report.
    """
    import platform

    from jinja2 import Environment, PackageLoader, StrictUndefined

    from vit_convert.runtime.versions import versions

    environment = Environment(
        loader=PackageLoader("vit_convert.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["readable"] = readable
    environment.filters["breakable"] = _breakable
    environment.globals["verdict_of"] = _verdict
    environment.globals["float16_lines"] = float16_lines
    plots = [{name: Markup(svg) for name, svg in _plots(subject).items()} for subject in subjects]
    template = environment.get_template("report.html")
    return template.render(
        subjects=list(zip(subjects, plots, strict=True)),
        first=subjects[0],
        verdict=_worst(subjects),
        differing=sum(_verdict(subject.result) == "differs" for subject in subjects),
        command=command,
        legend=_LEGEND,
        versions={name: version for name, version in versions().items() if version},
        machine=f"{platform.system()} {platform.machine()}",
        date=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
    )


def _verdict(result: VerifyResult) -> str:
    if result.passed:
        return "equal"
    return "differs" if result.num_images else "not run"


def _worst(subjects: Sequence[Subject]) -> str:
    found = {_verdict(subject.result) for subject in subjects}
    return next(verdict for verdict in ("differs", "not run", "equal") if verdict in found)


def _breakable(name: str) -> Markup:
    """A name of a file, that may be broken where its words end."""
    return Markup(re.sub(r"([_.\-/])(?=.)", r"\1<wbr>", str(escape(name))))


def _plots(subject: Subject) -> dict[str, str]:
    """SVGs, "" for what is not known."""
    profile = subject.result.profile
    found = {"outputs": "", "blocks": "", "ranges": "", "digits": ""}
    if profile is not None and profile.outputs:
        labels = subject.summary["labels"] if subject.result.output != "features" else ()
        tolerance = subject.result.comparison.tolerance
        found["outputs"] = output_plot(profile.outputs, labels, tolerance)
    if profile is not None and profile.blocks:
        found["blocks"] = block_plot(profile.blocks)
    if subject.result.float16 is not None:
        found["ranges"] = range_plot(subject.result.float16.blocks)
        found["digits"] = digits_plot(subject.result.float16.blocks)
    return found
