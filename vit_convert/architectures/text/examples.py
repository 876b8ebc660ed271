"""Tokens of texts that nobody wrote, to run a text tower on."""

from __future__ import annotations

import hashlib

import numpy as np

from vit_convert.architectures.text.config import TextConfig


def example_tokens(config: TextConfig, count: int) -> np.ndarray:
    """Tokens of so many texts, (count, context) int32: the same everywhere and for ever.

    The first text fills the context, and each other one is shorter. Where the tower looks for the
    end of a text, that stands behind it, and zeros follow.
    """
    length, vocabulary = config.context_length, config.vocab_size
    noise = hashlib.shake_256(b"vit-convert").digest(4 * count * length)
    tokens = (np.frombuffer(noise, "<u4").reshape(count, length) % vocabulary).astype(np.int32)
    if config.pool == "last":
        return tokens
    end = config.end_token if config.end_token is not None else vocabulary - 1
    tokens[tokens == end] = 0
    for number, row in enumerate(tokens):
        place = length - 1 - (number * length) // count
        row[place] = end
        row[place + 1 :] = 0
    return tokens
