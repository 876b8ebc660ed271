"""The residual graph of a model: what writes to the residual stream, and what reads it.

A transformer keeps one array of tokens, the residual stream (Elhage et al. 2021, "A Mathematical
Framework for Transformer Circuits"). The embedding starts it, each branch adds to it, and norms
read it. Folding needs no more than this to know which changes of the weights cancel out.

All names are canonical. A linear layer that is several in one (`attn.qkv`) is listed in `fused`;
everywhere else its parts are named (`attn.q`, `attn.k`, `attn.v`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Reads = Literal["stream", "branch", "embedding", "inside"]


@dataclass(frozen=True)
class Fused:
    """A linear layer whose outputs are those of several layers, one after the other, equally wide.

    Attributes:
        layer: its name, "blocks.0.attn.qkv".
        parts: the names of the layers in it.
    """

    layer: str
    parts: tuple[str, ...]


@dataclass(frozen=True)
class Norm:
    """A LayerNorm or an RMSNorm.

    Attributes:
        name: its module.
        reads: what it normalises: the "stream" (or a mean of its tokens); what a "branch" gives;
            the "embedding", before the stream begins; or something "inside" a branch or a head.
        epsilon: added to the variance, or to the mean of the squares.
        into: the linear layers that take its output, where nothing else takes it but a mean over
            tokens; () otherwise.
        centres: whether it subtracts the mean over the channels; an RMSNorm does not.
    """

    name: str
    reads: Reads
    epsilon: float
    into: tuple[str, ...] = ()
    centres: bool = True


@dataclass(frozen=True)
class Branch:
    """A residual branch; what its last layer gives is added to the stream.

    Attributes:
        output: that layer.
        scale: the parameter of the LayerScale behind it, "" for none.
        normalised: whether a norm (with reads="branch") comes before the addition.
    """

    output: str
    scale: str = ""
    normalised: bool = False


@dataclass(frozen=True)
class AttentionModule:
    """A multi-head attention.

    Attributes:
        name: its module; its linear layers are NAME.q, NAME.k and NAME.v.
        heads, head_dim: their number, and channels of each.
        qk_norm: whether norms NAME.q_norm and NAME.k_norm act on the channels of each head.
        rotary: rotary position embedding turns queries and keys.
        turns_neighbours: the pairs of channels that it turns are neighbours.
        mixes_scores: whether a linear layer NAME.proj_l over the heads takes the scores.
    """

    name: str
    heads: int
    head_dim: int
    qk_norm: bool = False
    rotary: bool = False
    turns_neighbours: bool = False
    mixes_scores: bool = False


@dataclass(frozen=True)
class PrefixToken:
    """A learned token, or several, that stand before the patches.

    Attributes:
        name: the parameter, (1, count, channels).
        count: how many there are.
        positioned: whether the position embedding has an entry for each.
    """

    name: str
    count: int
    positioned: bool


@dataclass(frozen=True)
class BatchNorm:
    """A batch normalisation beside a convolution, with the statistics of training.

    Attributes:
        name: its module, with `weight`, `bias`, `running_mean` and `running_var`.
        convolution: what it normalises, or what reads it.
        epsilon: added to the variance.
        before: it normalises what the convolution reads, which then has a filter of 1 x 1.
    """

    name: str
    convolution: str
    epsilon: float
    before: bool = False


@dataclass(frozen=True)
class Embedding:
    """The embedding: pictures or words become tokens.

    Attributes:
        patches: the convolution that makes a token of each patch; "" where there are none.
        grid: patches per column and per row, or one row of words.
        prefix: the tokens before the patches, in order.
        position: the parameter added to the tokens, "" for none. Its rows are those of the
            positioned prefix tokens, then those of the patches.
        norm: the norm between that convolution and the positions, "" for none.
        table: the parameter (rows, channels) of which each token is a row, "" for none.
    """

    patches: str
    grid: tuple[int, int]
    prefix: tuple[PrefixToken, ...] = ()
    position: str = ""
    norm: str = ""
    table: str = ""


@dataclass(frozen=True)
class ResidualGraph:
    """See the module.

    Attributes:
        embedding: how the stream begins.
        branches: all residual branches, in order.
        norms: all norms.
        attentions: all attentions over tokens.
        fused: linear layers that are several in one.
        only_norms_read: every reader of the stream is a norm, or a mean over tokens and then a
            norm. The stream may then have any scale.
        late_tokens: parameters (1, count, channels) that join the stream after the embedding.
        relative_position: modules with a table of relative positions.
        attention_pool: the module that pools by attention of one learned query, "" for none.
        rotary_frequencies: the parameter (2, blocks, heads, head_dim / 2) of learned frequencies of
            rotary position embedding, one block for each of `attentions`; "" for none.
        batch_norms: all batch normalisations, which stand outside the stream.
    """

    embedding: Embedding
    branches: tuple[Branch, ...]
    norms: tuple[Norm, ...]
    attentions: tuple[AttentionModule, ...]
    fused: tuple[Fused, ...] = ()
    only_norms_read: bool = True
    late_tokens: tuple[str, ...] = ()
    relative_position: tuple[str, ...] = ()
    attention_pool: AttentionModule | None = None
    rotary_frequencies: str = ""
    batch_norms: tuple[BatchNorm, ...] = ()

    @property
    def may_be_centred(self) -> bool:
        """Whether the stream may have any mean over the channels: all that read it subtract it.

        What a norm in the embedding writes there is not made by a linear layer, and its mean is
        what it is.
        """
        readers = (norm.centres for norm in self.norms if norm.reads == "stream")
        return self.only_norms_read and not self.embedding.norm and all(readers)
