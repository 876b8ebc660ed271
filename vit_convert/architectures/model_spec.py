"""All that a converted model says of itself, and how that is stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from vit_convert.architectures.base import Preprocessing, Provenance, Resampling
from vit_convert.architectures.outputs import Head, InputSpec, Output, OutputSpec
from vit_convert.architectures.parameters import Parameter
from vit_convert.architectures.registry import architecture
from vit_convert.architectures.stored import built, check_sizes
from vit_convert.errors import ArtifactError, UsageError

# of what `ModelSpec.to_dict` gives; a field that changes its name or meaning makes it one more.
# vit-convert 0.1 stored none, which counts as 0. Up to 1, `Source.provenance` was called `known`.
# Up to 2, `ModelSpec.head` was not stored.
FORMAT = 3
_FOLDING_FIELDS = ("folded", "stream_scale")  # of configurations in format 0
# naming schemes whose models had projections as heads up to format 2
_PROJECTING = ("clip", "transformers-clip", "transformers-owlvit")


@dataclass(frozen=True)
class Source:
    """The source of a converted model, so that `keras2torch` can go back.

    Attributes:
        file: the checkpoint's file name.
        dialect: the naming scheme it used.
        prefix: what stood before each name (`module.`), "" for none.
        variant: the published variant recognised, "" for none.
        dtypes: canonical name -> stored dtype, where it was not float32.
        changed: canonical names that do not hold the source's values (resampled, fresh head).
        provenance: field of the configuration or of Preprocessing -> how its value is known.
        body: which of the dialect's alternatives it used, e.g. "vit." for a model with a head.
        fills: indices that canonical names lack (DINOv2's chunks) -> their values by block.
        rules: the user's own dialect, as the text of its rule file.
        templates: the texts that the classes stood in, where a text tower made the head of them.
    """

    file: str = ""
    dialect: str = "timm"
    prefix: str = ""
    variant: str = ""
    dtypes: dict[str, str] = field(default_factory=dict)
    changed: tuple[str, ...] = ()
    provenance: dict[str, Provenance] = field(default_factory=dict)
    body: str = ""
    fills: dict[str, tuple[str, ...]] = field(default_factory=dict)
    rules: str = ""
    templates: tuple[str, ...] = ()


@dataclass(frozen=True)
class ModelSpec:
    """All that a converted model is, but for its weights. It survives JSON unchanged.

    Attributes:
        architecture: name in the registry.
        config: an instance of the architecture's configuration.
        preprocessing: how pictures become its input.
        labels: class names, or () if they are not known.
        pos_embed: how position embeddings are resampled ("antialias", "bicubic" or "bilinear").
        source: where it came from.
        head: what the last linear layer gives: values for "classes", or the "projection" that CLIP
            compares with texts'.
    """

    architecture: str
    config: Any
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    labels: tuple[str, ...] = ()
    pos_embed: Resampling = "antialias"
    source: Source = field(default_factory=Source)
    head: Head = "classes"

    def to_dict(self) -> dict[str, Any]:
        """Plain values only, for JSON and Keras; with the version of their format."""
        return {"format": FORMAT, **asdict(self)}

    @staticmethod
    def from_dict(data: Mapping[str, Any], where: str = "") -> ModelSpec:
        """The inverse of `to_dict`, also after a trip through JSON.

        Args:
            data: in this version's format or an older one.
            where: the file that it comes from, for the message.

        Raises:
            ArtifactError: its format is newer, or it is of a folded model, which 0.1 could store.
            RecognitionError: the architecture is not known here.
            KeyError, TypeError, ValueError: it is nothing that `to_dict` gave.
        """
        config = dict(data["config"])
        stored = data.get("format", 0)
        if type(stored) is not int or stored < 0:
            raise ValueError(f"format {stored!r}")
        if stored > FORMAT:
            raise ArtifactError(
                f"was written by a newer vit-convert, in format {stored} of models",
                where=where,
                expected=f"format {FORMAT} or older",
                hint="pip install --upgrade vit-convert",
            )
        if stored == 0:
            folded, _ = (config.pop(name, None) for name in _FOLDING_FIELDS)
            if folded:
                raise ArtifactError(
                    "holds a folded model of vit-convert 0.1, which is not supported any more",
                    where=where,
                    expected="a model as its checkpoint has it",
                    hint="convert the checkpoint again: vit-convert torch2keras CHECKPOINT",
                )
        source = dict(data["source"])
        if stored < 2:
            source["provenance"] = {
                name: "assumed" if known == "recognised" else known  # by equal shapes alone
                for name, known in source.pop("known").items()
            }
        head = data["head"] if stored > 2 else _head_of(source)
        family = architecture(data["architecture"])
        made = built(family.config_class, config)
        check_sizes(made)
        return built(
            ModelSpec,
            {
                "architecture": family.name,
                "config": made,
                "preprocessing": built(Preprocessing, data["preprocessing"]),
                "labels": data["labels"],
                "pos_embed": data["pos_embed"],
                "source": built(Source, source),
                "head": head,
            },
        )

    def with_config(self, **changes: Any) -> ModelSpec:
        """The same with some values of the configuration changed."""
        return replace(self, config=replace(self.config, **changes))

    def parameters(self) -> tuple[Parameter, ...]:
        """Every array of the model, in the order of the Keras model's layers and weights."""
        return architecture(self.architecture).parameters(self.config)

    def input(self) -> InputSpec:
        """What the model takes."""
        return architecture(self.architecture).input(self.config)

    def output(self, wanted: Output = "logits", block: int | None = None) -> OutputSpec:
        """What the model gives.

        Args:
            wanted: which of its outputs. "logits" is what it was made to give, whatever that is:
                features where there is no head.
            block: after which block, for tokens; the last by default.

        Raises:
            UsageError: it has no such output, or no such block.
        """
        _check_block(wanted, block, self.config.depth)
        found = architecture(self.architecture).outputs(self.config, self.head, block)
        if wanted == "logits":
            return next(iter(found.values()))
        if wanted not in found:
            raise UsageError(
                "the model has no head for classes, so that there are no probabilities"
                if wanted in ("softmax", "sigmoid")
                else "the model does not give that",
                where=f"--output {wanted}",
                expected=f"one of: {', '.join(found)}",
                hint="--output embedding" if "embedding" in found else "",
            )
        return found[wanted]

    def block_names(self) -> tuple[str, ...]:
        """The points of the residual stream; see `Architecture.block_names`."""
        return architecture(self.architecture).block_names(self.config)

    def blocks_before(self, output: OutputSpec) -> tuple[str, ...]:
        """Those of `block_names` that an output is computed from."""
        names, last = self.block_names(), f"blocks.{output.after_block}"
        return names if output.after_block is None else names[: names.index(last) + 1]


def _head_of(source: Mapping[str, Any]) -> Head:
    """What the head of a model gives that was stored in a format without `head`."""
    own = "head.weight" not in source["changed"]
    return "projection" if own and source["dialect"] in _PROJECTING else "classes"


def _check_block(wanted: Output, block: int | None, depth: int) -> None:
    """Raises UsageError for a block that there is not, or that nothing is wanted of."""
    if block is None:
        return
    if wanted != "tokens":
        raise UsageError(
            "only tokens are those of a block", where=f"--block {block}", expected="--output tokens"
        )
    if not 0 <= block < depth:
        raise UsageError(
            "there is no such block",
            where=f"--block {block}",
            expected=f"0 to {depth - 1}, the last",
        )
