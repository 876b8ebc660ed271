"""The verdict on an artifact that was verified: decided here alone, and shown everywhere.

"equal" is said of float noise only. What rounds to float16 is equal within that rounding; a
quantised file is never equal, but agrees with its source on so many pictures, or falls short.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from vit_convert.exporters.options import QUANTISED
from vit_convert.exporters.quantisation_report import ENOUGH, agreement_sentence

if TYPE_CHECKING:
    from vit_convert.parity.result import VerifyResult

Word = Literal[
    "equal", "equal within float16", "agrees", "within rounding", "within the tolerance",
    "differs", "falls short", "not run",
]  # fmt: skip
# images from which on the share of those with the same class says something
ENOUGH_IMAGES = 16


@dataclass(frozen=True)
class Verdict:
    """What verifying came to.

    Attributes:
        word: for programs, and where there is room for no more.
        text: for people, in one line.
        passed: whether the artifact is what it should be.
    """

    word: Word
    text: str
    passed: bool


def verdict_of(result: VerifyResult) -> Verdict:
    """The verdict on an artifact."""
    if result.gpu is not None and result.gpu.problem:
        return Verdict("not run", f"NOT RUN: {result.comparison.problem or result.where}", False)
    if not result.comparison.passed:
        return Verdict("differs", f"DIFFERS: {result.comparison.problem or result.where}", False)
    if result.made_of is not None and not result.made_of.passed:
        return Verdict("differs", f"DIFFERS: {result.where}", False)
    if result.precision in QUANTISED:
        return _of_quantised(result)
    if result.profile is not None:
        limit = result.tolerance_of_blocks
        for block in result.profile.blocks:
            if block.problem or block.relative > limit:
                return Verdict("differs", f"DIFFERS: {block.name}, though not the output", False)
    if result.comparison.relative > result.rounding:
        return _within_tolerance(result)
    if result.precision == "float16" or result.arithmetic == "float16":
        return Verdict("equal within float16", "equal within float16's rounding", True)
    return Verdict("equal", "equal", True)


def _of_quantised(result: VerifyResult) -> Verdict:
    """By what `export` measured on pictures, and by what was run now, if that was enough."""
    measured, found = result.measured, []
    if measured is not None and measured.pictures:
        found.append((measured.passed, measured.sentence))
    if result.num_images >= ENOUGH_IMAGES and result.has_classes:
        score = result.comparison.top1_agreement
        asked = f" (at least {ENOUGH:g} asked)"
        sentence = agreement_sentence(score, result.num_images, True, "images", asked)
        found.append((score >= ENOUGH, f"{sentence} with its source"))
    short = [sentence for passed, sentence in found if not passed]
    if short:
        return Verdict("falls short", f"FALLS SHORT: {short[0]}", False)
    if result.comparison.relative > result.rounding:
        return _within_tolerance(result)
    if found:
        return Verdict("agrees", found[0][1], True)
    known = (
        "what export measured is not in the file"
        if measured is None
        else f"{measured.sentence}, no pictures were measured"
    )
    return Verdict("within rounding", f"within {result.precision}'s rounding; {known}", True)


def _within_tolerance(result: VerifyResult) -> Verdict:
    """More than rounding explains, and less than the user asked for."""
    numbers = f"{result.comparison.relative:.1e} of {result.comparison.tolerance:g}"
    text = f"within the tolerance given ({numbers}), beyond {result.precision}'s rounding"
    return Verdict("within the tolerance", text, True)
