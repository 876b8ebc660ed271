"""What is stated of a checkpoint: by the files beside it, by what its training script left in it,
and by the user's file of options.

Statements are compared with each other, and recognition compares them with the tensors: two that
differ are an error, unless the user's own word settles it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from vit_convert.architectures import Fact, Overrides, Preprocessing, architecture
from vit_convert.checkpoint import Checkpoint
from vit_convert.dialects import Ledger
from vit_convert.hf_config import Library, Sidecars, read_sidecars
from vit_convert.hf_config.timm_config import RECOMMENDED_SIZE
from vit_convert.statements.agreement import agreed
from vit_convert.statements.training_args import training_facts

# what recognition understands beside the fields of configuration and preprocessing
_OTHERS = {"variant", "changed", "head_dim", "pos_embed", "attention", "model_type"}
_GRIDS = ("pos_embed", "relative_position_bias_table")


@dataclass(frozen=True)
class Statements:
    """All that is stated of a checkpoint, but by the user.

    Attributes:
        facts: field -> its value.
        sidecars: what lies beside it.
    """

    facts: dict[str, Fact] = field(default_factory=dict)
    sidecars: Sidecars = field(default_factory=Sidecars)


def read_statements(checkpoint: Checkpoint, ledger: Ledger, overrides: Overrides) -> Statements:
    """Collect and compare what is stated of a checkpoint.

    Args:
        checkpoint: the open file.
        ledger: its tensors, renamed.
        overrides: what the user states; of these fields nothing else is heard.

    Raises:
        CheckpointError: a statement is impossible.
        RecognitionError: two contradict each other, or are of a model that is not supported.
    """
    given = overrides.given()
    family = architecture(ledger.dialect.architecture)
    beside = read_sidecars(checkpoint.path.parent, _library(ledger), given, family.tower)
    left = training_facts(checkpoint.extras, checkpoint.path, given)
    facts = agreed((*beside.facts, *left, ledger.facts), given, str(checkpoint.path))
    free = not any(name.endswith(_GRIDS) for name in ledger.tensors)
    if free and RECOMMENDED_SIZE in facts:
        facts.setdefault("image_size", facts[RECOMMENDED_SIZE])
    known = {f.name for cls in (family.config_class, Preprocessing) for f in fields(cls)} | _OTHERS
    stated = {**ledger.dialect.stated, **facts}
    return Statements({name: stated[name] for name in stated if name in known}, beside)


def _library(ledger: Ledger) -> Library:
    """Whose files speak of a checkpoint with such names."""
    if ledger.dialect.sidecar:
        return "transformers"
    if ledger.dialect.name in ("clip", "clip-text") or ledger.prefix.endswith("trunk."):
        return "open_clip"
    return "timm"
