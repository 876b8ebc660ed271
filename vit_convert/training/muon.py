"""Muon's update of a matrix: momentum, made orthogonal.

Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks",
https://kellerjordan.github.io/posts/muon/.
"""

from __future__ import annotations

import math

import tensorflow as tf

MOMENTUM = 0.95  # Jordan's
_STEPS = 5  # of the iteration
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # Jordan's: steep at 0, and within 0.3 of 1 soon


def direction(gradient: tf.Tensor, momentum: tf.Tensor, parts: int) -> tf.Tensor:
    """Where a matrix goes in a step, for a learning rate of 1.

    Args:
        gradient: (inputs, outputs).
        momentum: the moving average of the gradients, this one among them, of the same shape.
        parts: matrices that stand side by side, such as those of queries, keys and values; each is
            made orthogonal by itself (Jordan et al. do so, too).

    Returns:
        of the same shape. Its root mean square is about that of AdamW's steps, so that learning
        rate and weight decay may be AdamW's (Liu et al. 2025, arXiv:2502.16982, equation 4).
    """
    ahead = gradient + MOMENTUM * (momentum - gradient)  # Nesterov's
    inputs, outputs = ahead.shape[0], ahead.shape[1] // parts
    pieces = [orthogonalised(piece) for piece in tf.split(ahead, parts, axis=1)]
    return 0.2 * math.sqrt(max(inputs, outputs)) * tf.concat(pieces, axis=1)


def orthogonalised(matrix: tf.Tensor) -> tf.Tensor:
    """A matrix with its singular values near 1 (0.7 to 1.2), by Newton and Schulz's iteration.

    Args:
        matrix: (rows, columns), float32.
    """
    tall = matrix.shape[0] > matrix.shape[1]
    x = tf.transpose(matrix) if tall else matrix
    x = x / tf.maximum(tf.norm(x), 1e-7)
    a, b, c = _COEFFICIENTS
    for _ in range(_STEPS):
        square = tf.matmul(x, x, transpose_b=True)
        x = a * x + tf.matmul(b * square + c * tf.matmul(square, square), x)
    return tf.transpose(x) if tall else x
