"""The causal mask of CLIP's text tower."""

from __future__ import annotations

import numpy as np

# Far below any score, so that softmax makes it zero, in float16 too, and still a number there: a
# product of zero and infinity is none.
HIDDEN = -1e4


def earlier_only_mask(count: int) -> np.ndarray:
    """What is added to attention's scores so that each of so many tokens sees itself and those
    before it, (1, 1, queries, keys) float32."""
    return np.triu(np.full((1, 1, count, count), HIDDEN, np.float32), 1)
