"""The ranges of values in the blocks of a model, and how float16 stands them."""

from __future__ import annotations

from dataclasses import dataclass

LARGEST = 65504.0  # of float16
# Where float16 differs from float32 by more than this, relative to the largest value of a tensor,
# digits are said to be lost: about five of eleven bits are right then. It is twice the largest seen
# in a linear layer or at the end of a block in the models that parity.float16.TOLERANCE is from.
DIGITS = 0.03


@dataclass(frozen=True)
class BlockRange:
    """The range of a block's values, over all images and all that is computed inside it.

    Attributes:
        name: "embeddings", "blocks.3", "norm", "head", ...
        least, most: the smallest and the largest value, in float32.
        largest: the largest |value|, in float32.
        largest_at: the tensor that has it.
        headroom: how many times as large the values could be before float16 ends, at 65504.
        relative: the largest |difference| of float16 and float32 in a tensor, over the largest
            |value| there; of those that leave the block or a linear layer in it, the worst.
            Infinite where float16 has no numbers any more.
        relative_at: that tensor.
        overflow_at: the first tensor that is infinite or NaN in float16 alone, "" if none is.
        overflow_of: the operation that gives it, such as "SQUARE", or "".
    """

    name: str
    least: float
    most: float
    largest: float
    largest_at: str
    headroom: float
    relative: float
    relative_at: str = ""
    overflow_at: str = ""
    overflow_of: str = ""

    @property
    def problem(self) -> str:
        """The problem of this block, "" if there is none."""
        if self.overflow_at:
            return f"{self.overflow_of} overflows in float16, at {self.overflow_at}"
        if not self.relative <= DIGITS:
            return (
                f"digits are lost: float16 differs from float32 by {self.relative:.1e} of the "
                f"largest value at {self.relative_at}, more than {DIGITS:g}"
            )
        return ""

    def __str__(self) -> str:
        return f"{self.name} ({self.problem})" if self.problem else self.name


@dataclass(frozen=True)
class Float16Profile:
    """The effect of float16 on the blocks of a file.

    Attributes:
        blocks: all, in the order of execution.
        first_bad: the first in which values overflow or digits are lost; None if there is none.
    """

    blocks: tuple[BlockRange, ...]
    first_bad: BlockRange | None

    @property
    def narrowest(self) -> BlockRange:
        """The block with the least headroom."""
        return min(self.blocks, key=lambda block: block.headroom)
