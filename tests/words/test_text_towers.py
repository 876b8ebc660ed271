"""Text towers against transformers': tokens, and embeddings in NumPy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from words.towers import CONTEXT, KINDS, made, text_embeddings, token_ids

from vit_convert.checkpoint import open_checkpoint
from vit_convert.words.embedding import TextEncoder
from vit_convert.words.tokenizer import read_tokenizer
from vit_convert.words.tower import read_text_tower

TEXTS = ["a photo of a bird.", "A Great Spotted   woodpecker", "the cat, drawing", "dog"]


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_and_embeddings_are_transformers(kind: str, tmp_path: Path) -> None:
    model, tokenizer = made(kind, tmp_path)
    tower = read_text_tower(open_checkpoint(tmp_path))
    assert tower.scale == pytest.approx(np.exp(3.1), rel=1e-6)
    assert tower.bias == (None if kind[:4] == "clip" else pytest.approx(-7.3))
    ours = read_tokenizer(tmp_path, CONTEXT, tower.config.vocab_size, tower.siglip)(TEXTS)
    theirs = token_ids(kind, tokenizer, TEXTS)
    expected = text_embeddings(model, theirs)
    assert ours.tolist() == theirs.tolist()
    found = TextEncoder(tower).embed(ours)
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() < 2e-6 * np.abs(expected).max()
