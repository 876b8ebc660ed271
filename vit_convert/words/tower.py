"""The text tower of a checkpoint, and how the checkpoint compares texts with pictures."""

from __future__ import annotations

import math
from dataclasses import dataclass

from vit_convert.architectures import Fact
from vit_convert.architectures.text.config import TextConfig
from vit_convert.architectures.text.parameters import text_parameters
from vit_convert.architectures.text.recognition import recognise_text
from vit_convert.checkpoint import Checkpoint
from vit_convert.checkpoint.tensor import LazyTensor
from vit_convert.conversion.checks import check_complete, check_finite, check_parts
from vit_convert.dialects import Ledger, read_as_canonical
from vit_convert.dialects.text_towers import TEXT_DIALECTS
from vit_convert.errors import MappingError, RecognitionError
from vit_convert.hf_config.text_towers import open_clip_text_facts, transformers_text_facts
from vit_convert.progress import Progress, counted, silent


@dataclass(frozen=True)
class TextTower:
    """A text tower, and the numbers that make logits of cosine similarities.

    Attributes:
        config: what it is.
        facts: field of the configuration -> how its value is known.
        weights: canonical name -> lazy tensor, exactly those of `text_parameters`.
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
    try:
        ledger = read_as_canonical(checkpoint.tensors, where, among=TEXT_DIALECTS)
    except RecognitionError as error:
        raise RecognitionError(
            "holds no text tower that is known here",
            where=where,
            expected=f"{' or '.join(d.title for d in TEXT_DIALECTS)}, beside its image tower",
            hint="the whole checkpoint: CLIPModel, SiglipModel or Siglip2Model of transformers, "
            "or one of OpenAI's or open_clip's",
        ) from error
    check_parts(ledger, where)
    folder = checkpoint.path.parent
    read_facts = transformers_text_facts if ledger.dialect.sidecar else open_clip_text_facts
    facts = read_facts(folder)
    shapes = {name: tensor.shape for name, tensor in ledger.tensors.items()}
    found = recognise_text(shapes, {**ledger.dialect.facts, **facts}, where)
    parameters = tuple(text_parameters(found.config))
    check_complete(parameters, ledger, where)
    weights = {p.name: ledger.tensors[p.name] for p in parameters}
    check_finite(counted(progress, "checking the text tower", [*weights.values()]), where)
    log_scale = _number(checkpoint, ledger, "logit_scale")
    if log_scale is None:
        raise MappingError(
            "there is no logit_scale, which similarities of pictures and texts are multiplied by",
            where=where,
            expected="a whole CLIP or SigLIP",
        )
    return TextTower(
        found.config,
        found.facts,
        weights,
        math.exp(log_scale),
        _number(checkpoint, ledger, "logit_bias"),
        where,
    )


def _number(checkpoint: Checkpoint, ledger: Ledger, name: str) -> float | None:
    """A parameter of one number that stands beside the towers."""
    tensor = checkpoint.tensors.get(ledger.prefix + name)
    if tensor is None:
        return None
    number = float(tensor.read().reshape(-1)[0]) if math.prod(tensor.shape) == 1 else math.nan
    if not abs(number) < 100:  # as NaN is not; CLIP's are 4.6 at most, and biases some -16
        raise MappingError(
            f"{name} is no number of a CLIP or SigLIP", where=str(checkpoint.path), expected="one"
        )
    return number
