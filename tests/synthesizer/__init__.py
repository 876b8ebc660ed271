"""An architecture that vit-convert does not have, in files of its own: the fixed random Synthesizer
(Tay et al. 2020, arXiv:2005.00743) on patches. The weights of its attention are parameters: no
image changes them.

Here stands all that a new architecture must say of itself, and the naming scheme of its
checkpoints. Two table lines make them known; see tests/architectures/test_a_third_architecture.py.
"""

from __future__ import annotations

from synthesizer.config import SynthesizerConfig, parameters, read, recognise
from vit_convert.architectures import Architecture
from vit_convert.architectures.residual_graph import Branch, Embedding, Norm, ResidualGraph
from vit_convert.dialects.rules import Dialect, same


def residual_graph(config: SynthesizerConfig) -> ResidualGraph:
    """See `vit_convert.architectures.residual_graph`."""
    eps, blocks = config.norm_eps, [f"blocks.{i}" for i in range(config.depth)]
    norms = [Norm("norm", "stream", eps, ("head",) if config.num_classes else ())]
    for block in blocks:
        norms.append(Norm(f"{block}.norm1", "stream", eps, (f"{block}.value",)))
        norms.append(Norm(f"{block}.norm2", "stream", eps, (f"{block}.mlp.fc1",)))
    return ResidualGraph(
        embedding=Embedding("patch_embed.proj", config.grid, position="pos_embed"),
        branches=tuple(
            Branch(f"{block}.{layer}") for block in blocks for layer in ("proj", "mlp.fc2")
        ),
        norms=tuple(norms),
        attentions=(),
    )


SYNTHESIZER = Architecture(
    name="synthesizer",
    title="Synthesizer",
    config_class=SynthesizerConfig,
    read=read,
    recognise=recognise,
    parameters=lambda config: tuple(parameters(config)),
    block_names=lambda config: ("embeddings", *(f"blocks.{i}" for i in range(config.depth))),
    residual_graph=residual_graph,
    keras_model="synthesizer.keras_model:Synthesizer",
    lowering="synthesizer.lowering:lower",
    source_model="synthesizer.source:source_model",
)

DIALECT = Dialect(
    name="synthesizer",
    architecture="synthesizer",
    title="the Synthesizer's own names",
    marker="blocks.0.scores",
    rules=(
        *same("patch_embed.proj.{leaf}", "pos_embed", "norm.{leaf}", "head.{leaf}"),
        *same(
            "blocks.{i}.scores",
            "blocks.{i}.norm1.{leaf}",
            "blocks.{i}.value.{leaf}",
            "blocks.{i}.proj.{leaf}",
            "blocks.{i}.norm2.{leaf}",
            "blocks.{i}.mlp.fc1.{leaf}",
            "blocks.{i}.mlp.fc2.{leaf}",
        ),
    ),
)
