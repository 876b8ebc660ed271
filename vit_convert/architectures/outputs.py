"""What a model takes and gives: kind, name, shape and meaning of its input and of its outputs.

`ModelSpec.output` describes the output that is asked for. All who run artifacts ask it, so that
nobody assumes (batch, classes).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

# what `export --output` names
Output = Literal["logits", "softmax", "sigmoid", "features", "embedding", "tokens"]
# images: pixels. tokens: whole numbers that stand for the parts of a text.
InputKind = Literal["images", "tokens"]
# logits, probabilities: one value for each class. features: a vector that describes the picture,
# or the text.
# embedding: such a vector of length 1. tokens: a vector for each patch.
# depth, segments: a number, or a value for each class, at each pixel.
OutputKind = Literal[
    "logits", "probabilities", "features", "embedding", "tokens", "depth", "segments"
]
# what the last linear layer gives: values for classes, or a vector to compare with texts' (CLIP)
Head = Literal["classes", "projection"]


@dataclass(frozen=True)
class InputSpec:
    """An input of a model.

    Attributes:
        name: in artifacts.
        kind: what it is.
        axes: names of the axes behind the batch.
        shape: their sizes.
    """

    name: str
    kind: InputKind
    axes: tuple[str, ...]
    shape: tuple[int, ...]

    @property
    def dtype(self) -> Literal["float32", "int32"]:
        """Of its elements; preprocessing in the graph may make it another."""
        return "int32" if self.kind == "tokens" else "float32"

    @property
    def examples(self) -> Literal["images", "texts"]:
        """The word for several of its inputs, for people."""
        return "texts" if self.kind == "tokens" else "images"


@dataclass(frozen=True)
class OutputSpec:
    """An output of a model.

    Attributes:
        name: in artifacts.
        kind: what it is.
        axes: names of the axes behind the batch.
        shape: their sizes.
        meaning: for people.
        endpoint: what the model computes it from: "logits", "features", "tokens.{i}".
        unit: "length": each vector along the last axis is divided by its length; "probability":
            that axis goes through a softmax; "sigmoid": each value goes through a sigmoid; "" for
            none of these.
    """

    name: str
    kind: OutputKind
    axes: tuple[str, ...]
    shape: tuple[int, ...]
    meaning: str
    endpoint: str
    unit: Literal["", "length", "probability", "sigmoid"] = ""

    @property
    def has_classes(self) -> bool:
        """Whether it has one value for each class."""
        return self.kind in ("logits", "probabilities")

    @property
    def is_vector(self) -> bool:
        """Whether it is one vector that describes the whole picture, or the whole text."""
        return self.kind in ("features", "embedding")

    @property
    def after_block(self) -> int | None:
        """The block whose tokens it gives; None where it gives no tokens."""
        return int(self.endpoint.rpartition(".")[2]) if self.kind == "tokens" else None

    def __str__(self) -> str:
        return f"{self.name} ({', '.join(('batch', *self.axes))})"


# (configuration, what the head gives, block whose tokens are wanted: the last where it is None) ->
# what can be asked for -> its description; what is given when nothing else is asked for comes first
Outputs = Callable[[Any, Head, int | None], Mapping[Output, OutputSpec]]


def image_input(config: Any) -> InputSpec:
    """The one input of models of pictures."""
    shape = (*config.image_size, config.in_channels)
    return InputSpec("images", "images", ("height", "width", "channels"), shape)


def picture_outputs(config: Any, head: Head, block: int | None) -> dict[Output, OutputSpec]:
    """As `Outputs`, of models of pictures: classes where there are, vectors and tokens always."""
    width, classes = config.features_dim, config.num_classes
    after = config.depth - 1 if block is None else block
    seen = "What the head would see."
    found: dict[Output, OutputSpec] = {}
    if classes and head == "classes":
        text = "One value for each class, before the softmax."
        found["logits"] = OutputSpec("logits", "logits", ("classes",), (classes,), text, "logits")
        text = "The probability of each class."
        found["softmax"] = OutputSpec(
            "probabilities",
            "probabilities",
            ("classes",),
            (classes,),
            text,
            "logits",
            "probability",
        )
        text = "The probability of each class, whatever the others have (SigLIP, multi-label)."
        found["sigmoid"] = replace(found["softmax"], meaning=text, unit="sigmoid")
    elif classes:
        text = "The projection, as models of pictures and texts compare it once it has length 1."
        found["logits"] = OutputSpec("logits", "features", ("dim",), (classes,), text, "logits")
    else:  # artifacts have always called it so
        found["logits"] = OutputSpec("logits", "features", ("dim",), (width,), seen, "features")
    found["features"] = OutputSpec("features", "features", ("dim",), (width,), seen, "features")
    projected = classes > 0 and head == "projection"
    found["embedding"] = OutputSpec(
        "embedding",
        "embedding",
        ("dim",),
        (classes if projected else width,),
        f"{'The projection' if projected else 'What the head would see'}, divided by its length.",
        "logits" if projected else "features",
        "length",
    )
    found["tokens"] = OutputSpec(
        "tokens",
        "tokens",
        ("rows", "columns", "dim"),
        (*config.grid, config.embed_dim),
        f"The tokens of the patches after block {after}, as the last norm leaves them.",
        f"tokens.{after}",
    )
    return found
