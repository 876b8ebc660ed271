"""Texts as the tokens that a text tower's artifact takes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vit_convert.checkpoint import open_checkpoint
from vit_convert.conversion.convert import recognise
from vit_convert.errors import UsageError, described
from vit_convert.words.tokenizer import read_tokenizer


def tokenize(checkpoint: str | Path, texts: Sequence[str]) -> NDArray[np.int32]:
    """Tokens of texts, by the tokenizer that lies beside a CLIP or SigLIP.

    Args:
        checkpoint: the folder that transformers or open_clip saved, or the checkpoint in it.
        texts: as people write them.

    Returns:
        (texts, context) int32, what `open_artifact(...).run` of its text tower takes.

    Raises:
        CheckpointError: there is no tokenizer, or a file cannot be read.
        RecognitionError, MappingError: there is no text tower that is known here.
        UsageError: a text is longer than the context, or empty.
        MissingDependencyError: the library `tokenizers` is not installed.
    """
    if isinstance(texts, str):
        raise UsageError(
            f"cannot be {described(texts)}", where="texts", expected=f"a list: [{texts!r}]"
        )
    opened = open_checkpoint(checkpoint)
    config = recognise(opened, tower="text").spec.config
    tokenizer = read_tokenizer(
        opened.path.parent, config.context_length, config.vocab_size, config.pool == "last"
    )
    return tokenizer(texts).astype(np.int32)
