"""The base of the Keras models: construction from a ModelSpec, named endpoints, weights."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf
import tf_keras

from vit_convert.architectures import PUBLISHED_LOGITS, ModelSpec, architecture
from vit_convert.dialects import keys_have_bias
from vit_convert.models.fine_tuning import (
    LoraTarget,
    enable_lora,
    frozen_layers,
    linears,
    merge_lora,
    set_frozen,
)
from vit_convert.models.layers.linear import Linear

# "embeddings", "blocks.{i}", ...: the residual stream, (batch, tokens, dim), at each of
# `Architecture.block_names`; attention maps, such as "attention.{i}" (batch, heads, n, n) and
# "class_attention.{i}" (batch, heads, 1, n + 1); "tokens.{i}" (batch, rows, columns, dim), those
# of the patches after a block, with the last norm; "features" (batch, dim); "logits"
Endpoints = dict[str, tf.Tensor]


class ConvertedModel(tf_keras.Model):
    """A functional Keras model, images (or a text's tokens) -> logits, that carries its ModelSpec.

    The layers bear timm's names, so that a variable's path is its PyTorch name
    (`blocks.3/attn/qkv/kernel` is `blocks.3.attn.qkv.weight`).

    Args:
        spec: what to build. Weights are fresh; see `assign`.
        dtype: Keras dtype policy of all layers but the head, e.g. "mixed_float16"; the global one
            by default.

    A subclass gives:
        architecture: the name in the registry.
        connect: the forward pass, (configuration, images (batch, height, width, channels) or tokens
            (batch, context), dtype policy) -> Endpoints.
    """

    architecture: ClassVar[str]
    connect: ClassVar[Callable[..., Endpoints]]

    def __init__(
        self, spec: ModelSpec, dtype: Any = None, name: str | None = None, **kwargs: Any
    ) -> None:
        policy = tf_keras.mixed_precision.Policy(
            dtype or tf_keras.mixed_precision.global_policy().name
        )
        entry = spec.input()
        inputs = tf_keras.Input(entry.shape, name=entry.name, dtype=entry.dtype)
        endpoints = type(self).connect(spec.config, inputs, policy)
        logits = endpoints["logits"]
        super().__init__(inputs, logits, name=name or self.architecture, **kwargs)
        self.spec_json = json.dumps(spec.to_dict())
        self.policy_name = policy.name
        # Past Keras's attribute tracking, which would take the dict for a part of the checkpoint.
        self.__dict__["_endpoints"] = endpoints
        if not keys_have_bias(spec.source, spec.architecture):
            for linear in linears(self):
                if linear.name == "qkv" and linear.use_bias:
                    linear.bias_mask = np.repeat([1.0, 0.0, 1.0], linear.units // 3)

    @property
    def spec(self) -> ModelSpec:
        """The description of the model."""
        return ModelSpec.from_dict(json.loads(self.spec_json))

    @property
    def endpoint_names(self) -> tuple[str, ...]:
        """The endpoints that `view` knows."""
        return tuple(self._endpoints)

    def view(self, names: Mapping[str, str]) -> tf_keras.Model:
        """A model that shares this one's layers and gives several endpoints.

        Args:
            names: output name -> endpoint, e.g. {"logits": "logits", "map": "attention.3"}.
        """
        return tf_keras.Model(
            self.inputs, {output: self._endpoints[point] for output, point in names.items()}
        )

    def attention_outputs(self) -> dict[str, str]:
        """Names that published CaiT and DeiT SavedModels use -> endpoints, for `view`."""
        maps = architecture(self.architecture).published_names(self.endpoint_names)
        return {PUBLISHED_LOGITS: "logits", **maps}

    def assign(self, weights: Mapping[str, np.ndarray]) -> None:
        """Set every variable, from arrays under canonical names in PyTorch's layout.

        Raises:
            KeyError: an array is missing.
            ValueError: an array has another shape than its variable.
        """
        variables = self.named_variables()
        for parameter in self.spec.parameters():
            variables[parameter.keras_path].assign(parameter.to_keras(weights[parameter.name]))

    def arrays(self) -> dict[str, np.ndarray]:
        """The inverse of `assign`: canonical name -> array in PyTorch's layout, LoRA merged."""
        variables = self.named_variables()
        merged = {id(linear.kernel): linear.merged_kernel for linear in self.lora_layers()}
        found = {}
        for parameter in self.spec.parameters():
            variable = variables[parameter.keras_path]
            value = merged.get(id(variable), variable.value)()
            found[parameter.name] = parameter.from_keras(value.numpy())
        return found

    def named_variables(self) -> dict[str, tf.Variable]:
        """Keras path (`blocks.3/attn/qkv/kernel`) -> variable, in the order of `parameters`."""
        variables = {variable.name: variable for variable in self.weights}
        paths = [p.keras_path for p in self.spec.parameters()]
        return {path: variables[f"{path}:0"] for path in paths}

    def freeze_backbone(self, until: int | None = None) -> None:
        """Train the head (or DeiT's two heads), and the last blocks if wanted. Compile again
        afterwards.

        Args:
            until: freeze what stands before the first block (patches, tokens, positions) and so
                many blocks, in the order of `spec.block_names()`; 0 freezes no block. By default
                all but the heads is frozen.

        Raises:
            UsageError: there are not so many blocks, or LoRA is on.
        """
        set_frozen(self, frozen_layers(self.spec, until))

    def unfreeze_backbone(self) -> None:
        """Train everything. Compile again afterwards.

        Raises:
            UsageError: LoRA is on.
        """
        set_frozen(self, set())

    def enable_lora(
        self,
        rank: int,
        targets: Sequence[LoraTarget] = ("qkv", "proj"),
        alpha: float | None = None,
        seed: int = 0,
    ) -> None:
        """Freeze all but the heads, and train low-rank additions to linear layers of the blocks
        (LoRA, Hu et al. 2021, arXiv:2106.09685). They begin at zero. Compile again afterwards.

        `save`, `arrays` and all artifacts made of them have the additions merged into the weights.

        Args:
            rank: of each addition; 4 to 16 are usual.
            targets: which layers: "qkv", "proj" (attention's, as in the paper) and "mlp".
            alpha: the additions are scaled by alpha / rank; by default by 1.
            seed: of the additions' first factor.

        Raises:
            UsageError: a value is not possible, or LoRA is on already.
        """
        enable_lora(self, rank, targets, alpha, seed)

    def merge_lora(self) -> None:
        """Add LoRA's additions to the weights, and train everything. Compile again afterwards."""
        merge_lora(self)

    def lora_layers(self) -> list[Linear]:
        """The layers that have a low-rank addition."""
        return [linear for linear in linears(self) if linear.lora_rank]

    def save(self, filepath: Any, *args: Any, **kwargs: Any) -> None:
        """See Keras; with LoRA on, the merged model is saved, without its optimizer."""
        if not self.lora_layers():
            super().save(filepath, *args, **kwargs)
            return
        merged = self.from_config(self.get_config())
        merged.assign(self.arrays())
        merged.save(filepath, *args, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """All that `from_config` needs, and the layers' classes, by which .keras archives name
        them; survives JSON."""
        return {
            "spec": json.loads(self.spec_json),
            "dtype": self.policy_name,
            "name": self.name,
            "layers": {layer.name: type(layer).__name__ for layer in self.layers},
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> ConvertedModel:
        """The inverse of `get_config`, with fresh weights."""
        return cls(
            ModelSpec.from_dict(config["spec"]), dtype=config.get("dtype"), name=config.get("name")
        )
