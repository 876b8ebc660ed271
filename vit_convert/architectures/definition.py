"""The description of an architecture. The rest of the package reads from it all that it knows of a
family of models."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from importlib import import_module
from itertools import count
from typing import Any

from vit_convert.architectures.base import (
    Overrides,
    Preprocessing,
    Recognition,
    Tower,
    TransformerConfig,
    Variant,
)
from vit_convert.architectures.draws import Draw
from vit_convert.architectures.outputs import InputSpec, Outputs, image_input, picture_outputs
from vit_convert.architectures.parameters import Parameter, Shape
from vit_convert.architectures.published import PublishedModel
from vit_convert.architectures.residual_graph import ResidualGraph
from vit_convert.errors import RecognitionError

PUBLISHED_LOGITS = "output_1"  # the logits' name in published CaiT and DeiT SavedModels


def picture_options(config_class: type[TransformerConfig]) -> frozenset[str]:
    """The options of a family that takes pictures: what its configurations have, and how pictures
    are prepared."""
    names = {item.name for cls in (config_class, Preprocessing) for item in fields(cls)}
    return frozenset({"variant", *names})


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """One family of models.

    Three fields are import paths, "package.module:name", because the rooms that they lead into
    import this one. `resolve` follows them.

    Attributes:
        name: the key in the registry: "vit", "cait", ...
        title: the name for people.
        config_class: its configuration: a frozen dataclass with `embed_dim`, `depth`, `num_heads`
            and `num_classes` (0 for none); of models of pictures, a `TransformerConfig`.
        options: its configuration's class -> the fields of `Overrides` that say something of its
            models.
        tower: which part of a model of pictures and texts it may be.
        published: gives the published models, those that cannot be converted too.
        read: canonical names and shapes, what is stated -> the values that tensors tell.
        recognise: canonical names and shapes, the user's options, the file name -> Recognition.
        check: configuration -> nothing; raises RecognitionError for values that no model has
            together.
        parameters: configuration -> every array of the model, in the order of the Keras model's
            layers and weights.
        initial: (configuration, parameter) -> what a fresh model's values are drawn from, where it
            is not `initialisation.initial_values`'s usual; None where it is.
        block_names: configuration -> the points of the residual stream in the order of computation:
            "embeddings" (the tokens as the first block sees them), then every block. A block's name
            is also its module's name, in the Keras model and in the source model.
        num_read_tokens: configuration -> how many tokens of the last block the rest of the model
            reads, the first ones; None if it reads all. A .tflite file need not have the others.
        attention_names: kind of attention map ("attention", "class_attention") -> the name in
            published SavedModels for block {i}. The last kind is the one nearest to the answer.
        no_rollout: the reason why attention rollout has no meaning here, "" where it has one.
        residual_graph: configuration -> what writes to the residual stream, and what reads it.
        input: configuration -> what the model takes.
        outputs: what it can give; see `vit_convert.architectures.outputs.Outputs`.
        up_to_block: (configuration, block) -> that of a model which ends with this block and the
            last norm, whose output is read as it is: by no pooling, no norm of it, and no head.
        without_head: configuration -> that of a model which gives what the head reads.
        keras_model: import path of the Keras class, a `vit_convert.models.base.ConvertedModel`.
        lowering: import path of the function that writes the forward pass into a .tflite file.
        source_model: import path of the function that makes the source's model:
            (ModelSpec, number of classes, 0 for features) -> torch.nn.Module, whose modules have
            canonical names.
    """

    name: str
    title: str
    config_class: type[Any]
    options: Callable[[type[Any]], frozenset[str]] = picture_options
    tower: Tower = "image"
    published: Callable[[], tuple[PublishedModel, ...]] = tuple
    read: Callable[[Mapping[str, Shape], Overrides], dict[str, Any]]
    recognise: Callable[[Mapping[str, Shape], Overrides, str], Recognition]
    check: Callable[[Any], None] = lambda config: None
    parameters: Callable[[Any], tuple[Parameter, ...]]
    initial: Callable[[Any, Parameter], Draw | None] = lambda config, parameter: None
    block_names: Callable[[Any], tuple[str, ...]] = lambda config: (
        "embeddings",
        *(f"blocks.{i}" for i in range(config.depth)),
    )
    num_read_tokens: Callable[[Any], int | None] = lambda config: None
    attention_names: Mapping[str, str] = field(default_factory=dict)
    no_rollout: str = ""
    residual_graph: Callable[[Any], ResidualGraph]
    input: Callable[[Any], InputSpec] = image_input
    outputs: Outputs = picture_outputs
    up_to_block: Callable[[Any, int], Any] = lambda config, block: replace(
        config, num_classes=0, pool="avg", depth=block + 1
    )
    without_head: Callable[[Any], Any] = lambda config: replace(config, num_classes=0)
    keras_model: str
    lowering: str
    source_model: str

    @property
    def variants(self) -> tuple[Variant, ...]:
        """The published models that can be converted, as configurations."""
        return tuple(v for model in self.published() for v in model.variants(self.config_class))

    def published_names(self, endpoints: Iterable[str]) -> dict[str, str]:
        """Published name -> endpoint ("attention.3"), of those that are attention maps."""
        found = {}
        for endpoint in endpoints:
            kind, _, index = endpoint.rpartition(".")
            if kind in self.attention_names:
                found[self.attention_names[kind].format(i=index)] = endpoint
        return found

    def attention_endpoints(self, outputs: Collection[str]) -> dict[str, str]:
        """Endpoint -> published name, of those that are among an artifact's outputs."""
        found = {}
        for kind, template in self.attention_names.items():
            for i in count():
                if template.format(i=i) not in outputs:
                    break
                found[f"{kind}.{i}"] = template.format(i=i)
        return found

    def shown_attention(self, endpoints: Iterable[str]) -> tuple[str, list[str]]:
        """The attention maps that say where the answer came from.

        Args:
            endpoints: those that there are.

        Returns:
            the kind of their blocks for people ("block", "class-attention block"), and their
            endpoints, the first block first.
        """
        kind = list(self.attention_names)[-1] if self.attention_names else ""
        found = [point for point in endpoints if point.rpartition(".")[0] == kind]
        found.sort(key=lambda point: int(point.rpartition(".")[2]))
        return "block" if kind == "attention" else f"{kind.replace('_', '-')} block", found


def resolve(path: str) -> Any:
    """The object that an import path leads to.

    Args:
        path: `keras_model`, `lowering` or `source_model` of an architecture.

    Raises:
        RecognitionError: there is no such object.
        ImportError: the module is there, and something that it imports is not.
    """
    module, _, name = path.partition(":")
    found = None
    try:
        found = getattr(import_module(module), name, None)
    except ModuleNotFoundError as error:
        if not f"{module}.".startswith(f"{error.name}."):
            raise  # a dependency of the module is missing
    if found is None:
        raise RecognitionError(
            f"the architecture is not provided for here: there is no {path}",
            expected="module:name of an object that can be imported",
        )
    return found
