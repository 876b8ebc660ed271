"""The text tower of a checkpoint, and how the checkpoint compares texts with pictures."""

from __future__ import annotations

import math
from dataclasses import dataclass

from vit_convert.architectures import Fact
from vit_convert.architectures.text.config import TextConfig
from vit_convert.checkpoint import Checkpoint
from vit_convert.checkpoint.tensor import LazyTensor
from vit_convert.conversion.checks import check_finite
from vit_convert.conversion.convert import Conversion, recognise
from vit_convert.errors import MappingError
from vit_convert.progress import Progress, counted, silent


@dataclass(frozen=True)
class TextTower:
    """A text tower, and the numbers that make logits of cosine similarities.

    Attributes:
        config: what it is.
        facts: field of the configuration -> how its value is known.
        weights: canonical name -> lazy tensor, exactly those of the architecture.
        scale: of the similarities, exp(logit_scale).
        bias: that is added to them (SigLIP's logit_bias); None where there is none.
        where: the checkpoint, for messages.
    """

    config: TextConfig
    facts: dict[str, Fact]
    weights: dict[str, LazyTensor]
    scale: float
    bias: float | None
    where: str

    @property
    def siglip(self) -> bool:
        """Whether its texts are prepared as SigLIP's: padded to the whole context, for their last
        token is what is read."""
        return self.config.pool == "last"

    def assumptions(self) -> list[str]:
        """A line for each value that nothing confirms."""
        return [
            f"{name} of the text tower is assumed to be {fact.value}, {fact.why}"
            for name, fact in self.facts.items()
            if fact.provenance == "assumed"
        ]


def read_text_tower(checkpoint: Checkpoint, progress: Progress = silent) -> TextTower:
    """The text tower that stands beside the image tower in a checkpoint.

    Args:
        checkpoint: the open file.
        progress: told what is being done.

    Raises:
        RecognitionError: there is none that is known here, or a file beside it says that it is
            another.
        MappingError: tensors are missing, unexpected, misshapen or not finite.
        CheckpointError: a file beside it says something impossible.
    """
    where = str(checkpoint.path)
    found = recognise(checkpoint, tower="text")
    weights = [*found.weights.values()]
    check_finite(counted(progress, "checking the text tower", weights), where)
    log_scale = _number(found, "logit_scale")
    if log_scale is None:
        raise MappingError(
            "there is no logit_scale, which similarities of pictures and texts are multiplied by",
            where=where,
            expected="a whole CLIP or SigLIP",
        )
    return TextTower(
        found.spec.config,
        found.facts,
        found.weights,
        math.exp(log_scale),
        _number(found, "logit_bias"),
        where,
    )


def _number(found: Conversion, name: str) -> float | None:
    """A parameter of one number that stands beside the towers."""
    tensor = found.checkpoint.tensors.get(found.ledger.prefix + name)
    if tensor is None:
        return None
    number = float(tensor.read().reshape(-1)[0]) if math.prod(tensor.shape) == 1 else math.nan
    if not abs(number) < 100:  # as NaN is not; CLIP's are 4.6 at most, and biases some -16
        raise MappingError(
            f"{name} is no number of a CLIP or SigLIP",
            where=str(found.checkpoint.path),
            expected="one",
        )
    return number
