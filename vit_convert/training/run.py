"""A training from its first step, or from where it was stopped, to its last."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from vit_convert.errors import VitConvertError
from vit_convert.runtime.allocator import keep_freed_memory
from vit_convert.training.history import EpochRow, TensorBoardLog, write_csv
from vit_convert.training.optimizer import Optimizer
from vit_convert.training.parameter_groups import (
    ParameterGroup,
    layer_scale,
    parameter_groups,
)
from vit_convert.training.phases import Phase, phases_of
from vit_convert.training.pipeline import TrainingBatches, ValidationBatches
from vit_convert.training.progress import Observer, Pace, TrainingReport, unobserved
from vit_convert.training.recipe import Recipe
from vit_convert.training.state import Identity, TrainingState, save_state
from vit_convert.training.steps import StepResult, TrainStep


class DivergedError(VitConvertError):
    """The loss or its gradients are not finite.

    Attributes:
        weights: canonical name -> array in PyTorch's layout: the last good ones.
    """

    weights: Mapping[str, np.ndarray]


@dataclass
class Training:
    """A training.

    Args:
        model: the Keras model, made in the scope of `strategy`.
        batches: to train on.
        validation: to validate on after each epoch; None for none.
        folder: for logs and the state after each epoch.
        identity: of the training, for its state.
        strategy: over devices.
        observer: told where the training is, after each step.
    """

    model: Any
    batches: TrainingBatches
    validation: ValidationBatches | None
    folder: Path
    identity: Identity
    strategy: Any
    observer: Observer = unobserved
    history: list[EpochRow] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.spec = self.batches.spec
        self.variables = {variable.name: variable for variable in self.model.weights}
        self._validate = tf.function(self._validation_step, reduce_retracing=True)

    @property
    def recipe(self) -> Recipe:
        """All choices, made."""
        return self.batches.recipe

    def run(self, state: TrainingState | None = None) -> dict[str, np.ndarray]:
        """Train to the end.

        Args:
            state: to go on from; a new training by default.

        Returns:
            canonical name -> array in PyTorch's layout: the moving average where there is one.

        Raises:
            DivergedError: loss or gradients are not finite.
        """
        keep_freed_memory()
        done = 0
        if state is not None:
            done = state.epochs
            self.history = [EpochRow.from_dict(row) for row in state.history]
            for name, variable in self.variables.items():
                variable.assign(state.weights[name])
        log = TensorBoardLog(self.folder)
        try:
            for phase in phases_of(self.recipe, self.spec, self.batches.steps_per_epoch):
                if done < phase.last:
                    inside = state if state and done > phase.first else None
                    self._run_phase(phase, max(done, phase.first), inside, log)
        finally:
            log.close()
        return self.weights()

    def weights(self) -> dict[str, np.ndarray]:
        """Canonical name -> array in PyTorch's layout, of the model as it is."""
        return {name: np.ascontiguousarray(a) for name, a in self.model.arrays().items()}

    def _trained(self, phase: Phase) -> list[tuple[tf.Variable, ParameterGroup]]:
        groups = parameter_groups(self.spec, self.recipe.layer_decay)
        variables = self.model.named_variables()
        paths = {p.name: p.keras_path for p in self.spec.parameters()}
        found = [(variables[paths[name]], groups[name]) for name in phase.trained]
        if phase.lora:
            known = {id(variable) for variable in variables.values()}
            for variable in self.model.trainable_variables:
                if id(variable) not in known:
                    layer = variable.name.partition("/")[0]
                    scale = layer_scale(self.spec, self.recipe.layer_decay, layer)
                    found.append((variable, ParameterGroup(scale, decays=True)))
        return found

    def _run_phase(
        self, phase: Phase, epoch: int, state: TrainingState | None, log: TensorBoardLog
    ) -> None:
        trained = self._trained(phase)
        with self.strategy.scope():
            optimizer = Optimizer([v for v, _ in trained], [g for _, g in trained], self.recipe)
        if state is not None:
            for name, slots in optimizer.slots.items():
                for i, slot in enumerate(slots):
                    slot.assign(state.slots[f"{name}/{i}"])
        step = TrainStep(
            self.model,
            optimizer,
            self.recipe.seed,
            self.strategy,
            phase.noisy,
            self.recipe.patch_dropout,
            self.recipe.xla,
        )
        per_epoch = self.batches.steps_per_epoch
        batches = iter(self.batches.dataset(epoch * per_epoch, phase.last * per_epoch))
        pace = Pace(self.batches.batch_size)
        for current in range(epoch, phase.last):
            began = time.perf_counter()
            row = self._run_epoch(phase, current, step, batches, pace)
            last = current + 1 == phase.last
            with _averaged(optimizer, keep=last):
                found = self._validation()
            found["seconds"] = time.perf_counter() - began
            self.history.append(EpochRow.from_dict(row | found))
            applied = (current + 1 - phase.first) * per_epoch
            self._save(current + 1, applied, None if last else optimizer)
            write_csv(self.folder, self.history)
            log.write(self.history[-1])

    def _run_epoch(
        self, phase: Phase, epoch: int, step: TrainStep, batches: Any, pace: Pace
    ) -> dict[str, Any]:
        """A row of the history, without what validation finds."""
        per_epoch = self.batches.steps_per_epoch
        loss = hits = seen = 0.0
        rate = 0.0
        pace.restart()
        whole = epoch >= self.recipe.whole_from()
        began = time.perf_counter()
        for place in range(per_epoch):
            number = epoch * per_epoch + place
            applied = number - phase.first * per_epoch
            rate = phase.schedule.at(applied)
            result = StepResult(
                *(v.numpy() for v in step(next(batches), number, applied, rate, whole))
            )
            if not result.finite:
                raise self._diverged(number, epoch, float(result.loss))
            pace.step()
            loss += float(result.loss) * float(result.seen)
            hits += float(result.hits)
            seen += float(result.seen)
            self._report(phase.name, epoch, place + 1, loss, hits, seen, pace)
        taken = time.perf_counter() - began
        return {
            "epoch": epoch + 1,
            "phase": phase.name,
            "step": (epoch + 1) * per_epoch,
            "learning_rate": rate,
            "loss": loss / max(seen, 1.0),
            "accuracy": 100 * hits / max(seen, 1.0),
            "images_per_second": seen / taken,
        }

    def _report(
        self,
        phase: str,
        epoch: int,
        step: int,
        loss: float,
        hits: float,
        seen: float,
        pace: Pace,
    ) -> None:
        per_epoch, epochs = self.batches.steps_per_epoch, self.recipe.epochs
        left = (epochs - epoch) * per_epoch - step
        beside = self._seconds_beside_steps()
        self.observer(
            TrainingReport(
                epoch=epoch + 1,
                epochs=epochs,
                step=step,
                steps=per_epoch,
                phase=phase,
                loss=loss / max(seen, 1.0),
                accuracy=100 * hits / max(seen, 1.0),
                images_per_second=pace.images_per_second,
                seconds_left=left * pace.seconds + (epochs - epoch) * beside,
                validation_accuracy=self._last_accuracy(),
            )
        )

    def _last_accuracy(self) -> float | None:
        found = self.history[-1].validation_accuracy if self.history else math.nan
        return None if math.isnan(found) else found

    def _seconds_beside_steps(self) -> float:
        """What the last epoch took for validation and for its state."""
        if not self.history:
            return 0.0
        row = self.history[-1]
        steps = self.batches.steps_per_epoch * self.batches.batch_size / row.images_per_second
        return max(0.0, row.seconds - steps)

    def _validation(self) -> dict[str, float]:
        if self.validation is None:
            return {"validation_loss": math.nan, "validation_accuracy": math.nan}
        loss = hits = seen = 0.0
        for images, labels, _ in self.validation.dataset():
            found = [float(v.numpy()) for v in self._validate(images, labels)]
            loss, hits, seen = loss + found[0], hits + found[1], seen + len(labels)
        count = max(seen, 1.0)
        return {"validation_loss": loss / count, "validation_accuracy": 100 * hits / count}

    def _validation_step(self, images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, ...]:
        logits = tf.cast(self.model(images, training=False), tf.float32)
        each = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        hit = tf.argmax(logits, axis=1) == labels
        return tf.reduce_sum(each), tf.reduce_sum(tf.cast(hit, tf.float32))

    def _save(self, epochs: int, applied: int, optimizer: Optimizer | None) -> None:
        slots = {} if optimizer is None else optimizer.slots
        save_state(
            self.folder,
            TrainingState(
                epochs=epochs,
                applied=applied,
                weights={name: v.numpy() for name, v in self.variables.items()},
                slots={
                    f"{name}/{i}": slot.numpy()
                    for name, found in slots.items()
                    for i, slot in enumerate(found)
                },
                history=tuple(row.to_dict() for row in self.history),
            ),
            self.identity,
        )

    def _diverged(self, step: int, epoch: int, loss: float) -> DivergedError:
        what = "gradients are not finite" if math.isfinite(loss) else f"loss is {loss}"
        error = DivergedError(
            f"the {what} in step {step} (epoch {epoch + 1}); the weights before it are kept",
            where="training",
            expected="a finite loss",
            hint="a smaller --learning-rate, a longer --warmup-epochs, or --clip-norm 1",
        )
        error.weights = self.weights()
        return error


@contextmanager
def _averaged(optimizer: Optimizer, keep: bool) -> Iterator[None]:
    """Let the model have the moving average of its weights, if there is one; for good, or for as
    long as the block runs."""
    average = optimizer.slots.get("ema")
    if average is None:
        yield
        return
    own = [variable.numpy() for variable in optimizer.variables]
    for variable, mean in zip(optimizer.variables, average, strict=True):
        variable.assign(mean)
    yield
    if not keep:
        for variable, value in zip(optimizer.variables, own, strict=True):
            variable.assign(value)
