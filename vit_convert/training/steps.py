"""One training step as a graph, on one device or several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from vit_convert.models.layers.noise import noise_from
from vit_convert.training.optimizer import Optimizer
from vit_convert.training.pipeline import DROP, step_seed


class StepResult(NamedTuple):
    """What a step gives, each ().

    Attributes:
        loss: the weighted mean cross-entropy.
        hits: pictures whose most probable class is that of the target.
        seen: pictures that could be read.
        finite: whether loss and gradients are; if not, nothing was changed.
    """

    loss: tf.Tensor
    hits: tf.Tensor
    seen: tf.Tensor
    finite: tf.Tensor


class TrainStep:
    """A step of a model's training.

    Args:
        model: a Keras model of images -> logits.
        optimizer: of its trainable variables.
        seed: of the noise in the model.
        strategy: how it is spread over devices.
        noisy: whether the model has stochastic depth.
        patch_dropout: the share of each image's patches that is left out, where a step asks for it.
        xla: whether the graph is compiled by XLA.
    """

    def __init__(
        self,
        model: Any,
        optimizer: Optimizer,
        seed: int,
        strategy: Any,
        noisy: bool = True,
        patch_dropout: float = 0.0,
        xla: bool = False,
    ) -> None:
        self._patch_dropout = patch_dropout
        self._model, self._optimizer, self._seed = model, optimizer, seed
        self._strategy, self._noisy = strategy, noisy
        # several devices meet within a step, which XLA cannot compile
        xla = xla and strategy.num_replicas_in_sync == 1
        self._run = tf.function(self._spread, reduce_retracing=True, jit_compile=xla)

    def __call__(
        self, batch: Sequence[tf.Tensor], step: int, applied: int, rate: float, whole: bool = True
    ) -> StepResult:
        """Train on a batch: images, targets and weights, as the pipeline gives them.

        Args:
            batch: of all devices together.
            step: its number, which the noise follows.
            applied: how often this optimizer has been applied before.
            rate: the learning rate.
            whole: whether all patches are seen.
        """
        values = (tf.constant(step, tf.int64), tf.constant(applied + 1, tf.float32))
        rates = tf.constant(rate, tf.float32)
        return StepResult(*self._run(tuple(batch), *values, rates, whole))

    def _spread(
        self,
        batch: tuple[tf.Tensor, ...],
        step: tf.Tensor,
        applied: tf.Tensor,
        rate: tf.Tensor,
        whole: bool,
    ) -> tuple[tf.Tensor, ...]:
        strategy = self._strategy
        count = strategy.num_replicas_in_sync
        if count == 1:
            return self._replica(batch, step, applied, rate, whole)
        parts = [tf.split(tensor, count) for tensor in batch]
        shared = [
            strategy.experimental_distribute_values_from_function(
                lambda context, of=split: of[context.replica_id_in_sync_group]
            )
            for split in parts
        ]
        results = strategy.run(self._replica, args=(tuple(shared), step, applied, rate, whole))
        # all replicas have the same
        return tuple(strategy.experimental_local_results(r)[0] for r in results)

    def _replica(
        self,
        batch: tuple[tf.Tensor, ...],
        step: tf.Tensor,
        applied: tf.Tensor,
        rate: tf.Tensor,
        whole: bool,
    ) -> tuple[tf.Tensor, ...]:
        images, targets, weights = batch
        context = tf.distribute.get_replica_context()
        add = tf.distribute.ReduceOp.SUM
        seed = step_seed(self._seed, DROP, step)
        if context.num_replicas_in_sync > 1:
            place = context.replica_id_in_sync_group
            seed = tf.random.experimental.stateless_fold_in(seed, place)
        variables = self._optimizer.variables
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            with noise_from(seed, 0.0 if whole else self._patch_dropout):
                logits = tf.cast(self._model(images, training=self._noisy), tf.float32)
            each = tf.nn.softmax_cross_entropy_with_logits(targets, logits)
            seen = context.all_reduce(add, tf.reduce_sum(weights))
            loss = tf.reduce_sum(weights * each) / tf.maximum(seen, 1.0)
        gradients = [tf.convert_to_tensor(g) for g in tape.gradient(loss, variables)]
        gradients = context.all_reduce(add, gradients)
        hit = tf.argmax(logits, axis=1) == tf.argmax(targets, axis=1)
        hits = context.all_reduce(add, tf.reduce_sum(weights * tf.cast(hit, tf.float32)))
        loss = context.all_reduce(add, loss)
        # a loss that is not finite leaves the gradients finite only where nothing can be learnt
        gradients = [g + 0.0 * loss for g in gradients]
        _, finite = self._optimizer.apply(gradients, rate, applied)
        return loss, hits, seen, finite
