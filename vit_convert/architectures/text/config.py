"""What a text tower is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vit_convert.architectures.base import Gelu
from vit_convert.errors import UsageError

LONGEST_CONTEXT = 4096  # LongCLIP (arXiv:2403.15378) has 248
TextPool = Literal["highest", "end", "last"]


@dataclass(frozen=True, kw_only=True)
class TextConfig:
    """A transformer over the tokens of a text, pre-norm as a ViT is.

    Attributes:
        vocab_size: rows of the table of token embeddings.
        context_length: positions; no text may have more tokens.
        embed_dim: width of the residual stream.
        depth: number of blocks.
        num_heads: attention heads; divides embed_dim.
        mlp_dim: hidden width of the MLPs.
        out_dim: width of the projection behind the pooled token, 0 for none.
        out_bias: whether the projection has a bias (SigLIP's has).
        gelu: the activation, as `TransformerConfig` has it.
        norm_eps: epsilon of every norm.
        causal: whether a token sees only itself and those before it (CLIP).
        pool: the token that the embedding is made of: that of the "highest" index (OpenAI's CLIP,
            whose end token has it), the first "end" token, or the "last" one, be it padding
            (SigLIP).
        end_token: index of the end token, where `pool` is "end".

    Raises:
        UsageError: `pool` is "end", and `end_token` is no token; or the context is longer than
            that of any such model.
    """

    vocab_size: int
    context_length: int
    embed_dim: int
    depth: int
    num_heads: int
    mlp_dim: int
    out_dim: int
    out_bias: bool = False
    gelu: Gelu = "quick"
    norm_eps: float = 1e-5
    causal: bool = True
    pool: TextPool = "highest"
    end_token: int | None = None

    def __post_init__(self) -> None:
        end = -1 if self.end_token is None else self.end_token
        if self.pool == "end" and not 0 <= end < self.vocab_size:
            raise UsageError(
                "there is no such end token",
                where=f"end_token {self.end_token}",
                expected=f"0 to {self.vocab_size - 1}",
            )
        if self.context_length > LONGEST_CONTEXT:
            raise UsageError(
                f"a context of {self.context_length:,} tokens",
                where="context_length",
                expected=f"at most {LONGEST_CONTEXT:,}: each sees all others",
            )

    @property
    def num_classes(self) -> int:
        """None: what it gives is compared with pictures."""
        return 0

    @property
    def embedding_dim(self) -> int:
        """Width of what the tower gives."""
        return self.out_dim or self.embed_dim

    @property
    def head_dim(self) -> int:
        """Channels of one attention head."""
        return self.embed_dim // self.num_heads
