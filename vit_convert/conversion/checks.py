"""Checks of a renamed checkpoint: every parameter is there once, in its shape, and finite."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vit_convert.architectures import Parameter
from vit_convert.checkpoint.tensor import LazyTensor
from vit_convert.conversion.name_table import table
from vit_convert.dialects import Ledger
from vit_convert.errors import MappingError

_FLOATS = ("float64", "float32", "float16", "bfloat16")


def check_finite(tensors: Iterator[LazyTensor], where: str) -> None:
    """Raises MappingError for tensors with values that are NaN or infinite; reads them all."""
    broken = []
    for tensor in tensors:
        array = tensor.read()
        # the extremes are NaN if any value is, and infinite if any value is
        if array.size and not np.isfinite([array.min(), array.max()]).all():
            count = array.size - int(np.isfinite(array).sum())
            broken.append((tensor.name, f"{count} of {array.size} values are NaN or infinite"))
    if broken:
        raise MappingError(
            "some weights are not finite; the training diverged or the file is damaged\n"
            + table(broken),
            where=where,
            expected="finite numbers",
            hint="an earlier checkpoint",
        )


def check_parts(ledger: Ledger, where: str) -> None:
    """Raises MappingError for parameters that cannot be made of what is there."""
    if ledger.problems:
        raise MappingError(
            f"the tensors do not fit {ledger.dialect.title}:\n{table(ledger.problems.items())}",
            where=where,
            expected="what these parameters are made of, in its shapes",
            hint="vit-convert inspect shows all tensors",
        )


def check_complete(parameters: tuple[Parameter, ...], ledger: Ledger, where: str) -> None:
    """Raises MappingError unless the tensors are exactly the model's parameters."""
    wanted = {p.name: p.shape for p in parameters}
    problems = [
        (name, f"missing, expected {shape}")
        for name, shape in wanted.items()
        if name not in ledger.tensors
    ]
    for name, tensor in ledger.tensors.items():
        if name not in wanted:
            problems.append((name, f"unexpected {tensor.shape}: this model has no such parameter"))
        elif tensor.shape != wanted[name]:
            problems.append((name, f"has shape {tensor.shape}, expected {wanted[name]}"))
        elif tensor.dtype not in _FLOATS:
            problems.append((name, f"is {tensor.dtype}, expected floating point"))
    if problems or ledger.unexpected:
        raise misfit(ledger, problems, where)


def misfit(ledger: Ledger, problems: list[tuple[str, str]], where: str) -> MappingError:
    """The error for tensors that are not those of the model: `problems` and what no rule knows."""
    unexpected = [(name, f"unexpected: {why}") for name, why in ledger.unexpected.items()]
    return MappingError(
        f"the tensors do not fit {ledger.dialect.title}:\n{table([*problems, *unexpected])}",
        where=where,
        expected="every tensor of the model once, in its shape, and no others",
        hint="--key, if the file holds several state dicts; vit-convert inspect shows them all",
    )
