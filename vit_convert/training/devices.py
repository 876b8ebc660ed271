"""The devices that train together."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from vit_convert.errors import UsageError
from vit_convert.runtime.processors import instruction_sets

_BFLOAT16 = ("avx512_bf16", "amx_bf16")


def strategy_of(count: int) -> Any:
    """A tf.distribute strategy over so many GPUs, or CPU devices where there is no GPU.

    Raises:
        UsageError: there are not so many GPUs, or TensorFlow has begun to run and cannot divide
            the CPU any more.
    """
    if count == 1:
        return tf.distribute.get_strategy()
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        if len(gpus) < count:
            raise UsageError(
                f"there are {len(gpus)} GPUs", where="--devices", expected=f"at most {len(gpus)}"
            )
        return tf.distribute.MirroredStrategy([f"GPU:{i}" for i in range(count)])
    _divide_cpu(count)
    return tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(count)])


def _divide_cpu(count: int) -> None:
    cpu = tf.config.list_physical_devices("CPU")[0]
    parts = [tf.config.LogicalDeviceConfiguration() for _ in range(count)]
    try:
        tf.config.set_logical_device_configuration(cpu, parts)
    except RuntimeError as error:
        if len(tf.config.list_logical_devices("CPU")) >= count:
            return
        raise UsageError(
            "TensorFlow runs already, and the CPU cannot be divided any more",
            where="--devices",
            expected="a process that has not used TensorFlow",
        ) from error


def bfloat16_is_slow() -> bool:
    """Whether mixed precision would run on a CPU that has no instructions for bfloat16."""
    if tf.config.list_physical_devices("GPU"):
        return False
    known = instruction_sets()
    return bool(known) and known.isdisjoint(_BFLOAT16)
