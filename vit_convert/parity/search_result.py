"""The result of looking for the assumed value that is wrong."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SearchResult:
    """What trying the assumed values came to.

    Attributes:
        options: the options of `torch2keras` with which the outputs are equal to the reference's,
            one for each value that must change: ("--num-heads 12",); () if none were found.
        relative: the relative difference with them, over `images` images; without, the least found.
        images: how many it was compared on.
        unchanged: the outputs are equal with the values as they are, computed in float32 from the
            same weights: the difference is the artifact's own.
        fields: the fields of the configuration that were changed.
        tried: how many changes were tried, one value or two at a time.
        left: how many were not, because the time was over.
        seconds: the time that it took.
        problem: why nothing could be tried, or "".
        output: what is compared: "logits" or "features".
    """

    options: tuple[str, ...] = ()
    relative: float = float("inf")
    images: int = 0
    unchanged: bool = False
    fields: tuple[str, ...] = ()
    tried: int = 0
    left: int = 0
    seconds: float = 0.0
    problem: str = ""
    output: str = "logits"

    def __str__(self) -> str:
        if self.problem:
            return self.problem
        equal = f"equal (relative difference {self.relative:.1e} on {self.images} images)"
        if self.unchanged:
            return (
                "no value of the configuration is to blame: computed in float32 with all of them "
                f"as they are, the {self.output} are {equal}"
            )
        if self.options:
            options = " ".join(self.options)
            return f"with {options} the {self.output} are {equal}: convert again with that"
        said = (
            "no assumed value is to blame alone, nor are two of them: "
            f"{self.tried} changes of {', '.join(self.fields)} were tried"
        )
        if self.left:
            said += f" in {self.seconds:.0f} s, and {self.left} were not"
        return said
