"""The learning rate is that of timm's scheduler."""

from __future__ import annotations

import pytest
import torch

from vit_convert.parity.sources.torch_compat import import_vision
from vit_convert.training.schedule import CosineSchedule

import_vision("timm")
from timm.scheduler import CosineLRScheduler  # noqa: E402


@pytest.mark.parametrize("warmup", [0, 7])
def test_each_step_has_the_rate_of_timms_scheduler(warmup: int) -> None:
    schedule = CosineSchedule(peak=3e-3, floor=1e-5, steps=50, warmup_steps=warmup)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=3e-3)
    timms = CosineLRScheduler(
        optimizer,
        t_initial=50,
        lr_min=1e-5,
        warmup_t=warmup,
        warmup_lr_init=3e-3 / (warmup + 1),
        t_in_epochs=False,
    )
    for step in range(50):
        timms.step_update(step)
        assert schedule.at(step) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)


def test_the_first_step_already_learns() -> None:
    assert CosineSchedule(1e-3, 0.0, 10, 4).at(0) > 0
