"""The page: one HTML file without scripts, that loads nothing from anywhere."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timezone

from markupsafe import Markup, escape

from vit_convert.architectures.outputs import OutputKind
from vit_convert.conversion.name_table import readable
from vit_convert.exporters.options import QUANTISED
from vit_convert.exporters.quantisation_report import ENOUGH, rounded_down
from vit_convert.parity.report import assumed_line, float16_lines
from vit_convert.parity.result import VerifyResult
from vit_convert.reporting.drawing import templates
from vit_convert.reporting.facts import Subject
from vit_convert.reporting.plots import block_plot, digits_plot, output_plot, range_plot

_LEGEND = {
    "read": "from the names and shapes in the checkpoint",
    "published": "as published for this model",
    "given": "by an option",
    "assumed": "a default, which the checkpoint cannot confirm",
    "": "not recorded in the artifact",
}
# what `VerifyResult.profile` has a difference for: each place along the output's last axis
ONE_OF: dict[OutputKind, str] = {
    "logits": "logit",
    "probabilities": "probability",
    "features": "feature",
    "embedding": "value of the vector",
    "tokens": "channel of the tokens",
    "depth": "column of the map",
    "segments": "class",
}
_SHORT = 12  # characters of a word that always has room
_LONGEST = 88  # of a name: four lines of a phone, with room for breaks between words


def page(subjects: Sequence[Subject], command: str) -> str:
    """The report as HTML. Whatever comes from files is escaped.

    Args:
        subjects: the artifacts, of one source.
        command: that made this report.
    """
    import platform

    from vit_convert.runtime.versions import versions

    environment = templates()
    environment.filters["readable"] = readable
    environment.filters["breakable"] = _breakable
    environment.globals["float16_lines"] = float16_lines
    environment.globals["assumed_line"] = assumed_line
    environment.globals["one_of"] = ONE_OF
    environment.globals["quantised"] = QUANTISED
    environment.globals["enough"] = ENOUGH
    environment.globals["rounded_down"] = rounded_down
    environment.filters["capitalize_first"] = lambda text: text[:1].upper() + text[1:]
    plots = [{name: Markup(svg) for name, svg in _plots(subject).items()} for subject in subjects]
    template = environment.get_template("report.html")
    return template.render(
        subjects=list(zip(subjects, plots, strict=True)),
        first=subjects[0],
        verdict=_of_all([subject.result for subject in subjects]),
        command=command,
        legend=_LEGEND,
        versions={name: version for name, version in versions().items() if version},
        machine=f"{platform.system()} {platform.machine()}",
        date=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
    )


_HEADINGS = {
    "equal": "equal to its source",
    "equal within float16": "equal to its source within float16's rounding",
    "agrees": "agrees with its source",
    "within rounding": "within rounding of its source",
    "within the tolerance": "within the tolerance given of its source",
    "differs": "differs from its source",
    "falls short": "falls short of what is asked",
    "not run": "the GPU does not run it",
}


def _of_all(results: Sequence[VerifyResult]) -> tuple[bool, str]:
    """Whether all are what they should be, and the verdict in a few words: the one that all have,
    or how many fail."""
    words = [result.verdict.word for result in results]
    failed = [result.verdict.word for result in results if not result.passed]
    of = f" of {len(results)}"
    if len(results) == 1:
        return not failed, _HEADINGS[words[0]]
    if failed:
        counts = [f"{failed.count(word)}{of} {_SEVERAL[word]}" for word in dict.fromkeys(failed)]
        return False, ", ".join(counts)
    if set(words) == {"equal"}:
        return True, "equal to their source"
    return True, "all pass: " + ", ".join(
        f"{words.count(word)} {_SEVERAL[word]}" for word in dict.fromkeys(words)
    )


_SEVERAL = {
    "equal": "equal to their source",
    "equal within float16": "equal within float16's rounding",
    "agrees": "in agreement on pictures",
    "within rounding": "within rounding, not measured on pictures",
    "within the tolerance": "within the tolerance given",
    "differs": "differ from their source",
    "falls short": "fall short of what is asked",
    "not run": "not run by the GPU",
}


def _breakable(text: str) -> Markup:
    """A text whose names of files may be broken where their words end. Of names that would take
    more than four lines on a phone the middle is left out; the title of the element has all."""
    words = text.split(" ")
    return Markup(" ").join(_file(word) if len(word) > _SHORT else escape(word) for word in words)


def _file(name: str) -> Markup:
    shown, title = name, ""
    if len(name) > _LONGEST:
        half = _LONGEST // 2
        shown, title = f"{name[:half]}\u2026{name[-half:]}", Markup(' title="{}"').format(name)
    broken = Markup(re.sub(r"([_.\-/\u2026])(?=.)", r"\1<wbr>", str(escape(shown))))
    return Markup('<span class="file"{}>{}</span>').format(title, broken)


def _limit_of_blocks(result: VerifyResult) -> float | None:
    """What the verdict holds blocks to: where the output differs, the part of its tolerance that
    tells where that begins; else the whole of it. Of a quantised file, nothing: there is no limit
    to what rounding does to one block while the pictures keep their classes."""
    assert result.profile is not None
    if not result.comparison.passed:
        return result.profile.blocks[0].tolerance
    return None if result.precision in QUANTISED else result.tolerance_of_blocks


def _plots(subject: Subject) -> dict[str, str]:
    """SVGs, "" for what is not known."""
    profile = subject.result.profile
    found = {"outputs": "", "blocks": "", "ranges": "", "digits": ""}
    if profile is not None and profile.outputs:
        labels = subject.summary["labels"] if subject.result.has_classes else ()
        tolerance = subject.result.comparison.tolerance
        found["outputs"] = output_plot(profile.outputs, labels, tolerance)
    if profile is not None and profile.blocks:
        found["blocks"] = block_plot(profile.blocks, _limit_of_blocks(subject.result))
    if subject.result.float16 is not None:
        found["ranges"] = range_plot(subject.result.float16.blocks)
        found["digits"] = digits_plot(subject.result.float16.blocks)
    return found
