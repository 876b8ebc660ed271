"""AdamW and Muon with a learning rate and weight decay for each parameter, and a moving average."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from vit_convert.training.muon import MOMENTUM, direction
from vit_convert.training.parameter_groups import ParameterGroup
from vit_convert.training.recipe import Recipe


class Optimizer:
    """AdamW (Loshchilov and Hutter 2017, arXiv:1711.05101) as in PyTorch: a parameter first shrinks
    by rate * decay, and epsilon is added to the root of the corrected second moment. With the
    recipe's optimizer "muon", matrices of blocks go where `vit_convert.training.muon` says instead.

    Args:
        variables: to be trained, float32.
        groups: of each of them.
        recipe: its betas, epsilon, weight decay, clipping and EMA are used.

    Attributes:
        slots: name -> a variable for each of `variables`: "m" and "v", the moments ("v" is empty
            for Muon), and "ema", the moving average (Polyak and Juditsky 1992) if the recipe has
            one.
    """

    def __init__(
        self, variables: Sequence[tf.Variable], groups: Sequence[ParameterGroup], recipe: Recipe
    ) -> None:
        self.variables = list(variables)
        self._groups = list(groups)
        self._recipe = recipe
        self._muon = [recipe.optimizer == "muon" and bool(group.matrices) for group in groups]
        names = ("m", "v", "ema") if recipe.ema else ("m", "v")
        self.slots: dict[str, list[tf.Variable]] = {
            name: [
                self._slot(name, variable, muon)
                for variable, muon in zip(self.variables, self._muon, strict=True)
            ]
            for name in names
        }

    @staticmethod
    def _slot(name: str, variable: tf.Variable, muon: bool) -> tf.Variable:
        if name == "v" and muon:
            return tf.Variable(tf.zeros((0,)), trainable=False)
        initial = variable if name == "ema" else tf.zeros_like(variable)
        return tf.Variable(tf.cast(initial, tf.float32), trainable=False)

    def apply(
        self, gradients: Sequence[tf.Tensor], rate: tf.Tensor, step: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Make a step; none where a gradient is not finite. To be called in a replica context, with
        the same gradients in each.

        Args:
            gradients: float32, of each variable.
            rate: the learning rate, ().
            step: from 1, () float32; how often it has been applied, with this time.

        Returns:
            the global norm of the gradients, and whether it is finite.
        """
        recipe = self._recipe
        norm = tf.linalg.global_norm(gradients)
        finite = tf.math.is_finite(norm)
        if recipe.clip_norm:
            factor = tf.minimum(1.0, recipe.clip_norm / (norm + 1e-6))  # as PyTorch's clipping
            gradients = [g * factor for g in gradients]
        # With betas of 1, a rate of 0 and gradients of 0, every update leaves all as it is.
        gradients = [tf.where(finite, g, tf.zeros_like(g)) for g in gradients]
        rate = tf.where(finite, rate, 0.0)
        one = tf.ones(())
        beta1, beta2 = (tf.where(finite, b, one) for b in (recipe.beta1, recipe.beta2))
        power1, power2 = (tf.pow(tf.constant(b), step) for b in (recipe.beta1, recipe.beta2))
        # the average follows faster at first, as in TensorFlow's ExponentialMovingAverage
        follow = 1.0 - tf.minimum(float(recipe.ema), (1.0 + step) / (10.0 + step))
        follow = tf.where(finite, follow, 0.0)
        values = (rate, beta1, beta2, power1, power2, follow)
        tf.distribute.get_replica_context().merge_call(self._merged, args=(gradients, values))
        return norm, finite

    def _merged(self, strategy: Any, gradients: Sequence[Any], values: Sequence[Any]) -> None:
        for i, variable in enumerate(self.variables):
            slots = [found[i] for found in self.slots.values()]
            strategy.extended.update(
                variable,
                self._update,
                args=(self._groups[i], self._muon[i], gradients[i], *values, *slots),
            )

    def _update(
        self,
        variable: Any,
        group: ParameterGroup,
        muon: bool,
        gradient: tf.Tensor,
        rate: tf.Tensor,
        beta1: tf.Tensor,
        beta2: tf.Tensor,
        power1: tf.Tensor,
        power2: tf.Tensor,
        follow: tf.Tensor,
        m: tf.Variable,
        v: tf.Variable,
        ema: tf.Variable | None = None,
    ) -> None:
        rate = rate * group.scale
        if group.decays and self._recipe.weight_decay:
            variable.assign_sub(rate * self._recipe.weight_decay * variable)
        if muon:
            # beta1 is 1 where nothing is to change
            m.assign_add((1.0 - MOMENTUM) * tf.where(beta1 < 1.0, gradient - m, 0.0))
            variable.assign_sub(rate * direction(gradient, m, group.matrices))
        else:
            self._adamw(variable, gradient, rate, beta1, beta2, power1, power2, m, v)
        if ema is not None:
            ema.assign_add(follow * (variable - ema))

    def _adamw(
        self,
        variable: Any,
        gradient: tf.Tensor,
        rate: tf.Tensor,
        beta1: tf.Tensor,
        beta2: tf.Tensor,
        power1: tf.Tensor,
        power2: tf.Tensor,
        m: tf.Variable,
        v: tf.Variable,
    ) -> None:
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=m.handle,
            v=v.handle,
            beta1_power=power1,
            beta2_power=power2,
            lr=rate,
            beta1=beta1,
            beta2=beta2,
            # TensorFlow adds it to the root of the moment before correction
            epsilon=self._recipe.epsilon * tf.sqrt(1.0 - power2),
            grad=gradient,
        )
