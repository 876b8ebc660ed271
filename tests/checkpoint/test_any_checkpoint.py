"""Whatever torch.save writes reads as torch.load reads it: any types, strides, sharing and nesting.

`HYPOTHESIS_EXAMPLES=5000` tries more of it.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vit_convert.checkpoint import Checkpoint, open_checkpoint
from vit_convert.checkpoint.nesting import PREFERRED
from vit_convert.checkpoint.tensor import LazyTensor

EXAMPLES = int(os.environ.get("HYPOTHESIS_EXAMPLES", 0))


def many(count: int) -> settings:
    return settings(
        max_examples=EXAMPLES or count,
        deadline=None,  # pytest-timeout sees to it that nothing hangs
        suppress_health_check=[HealthCheck.too_slow],
        print_blob=True,
    )


FLOATS = [torch.float64, torch.float32, torch.float16, torch.bfloat16]
WHOLE = [torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool]
WIDE = [torch.uint64, torch.uint32, torch.uint16]  # torch.load takes them from zip files only
KEYS = st.text(max_size=8) | st.sampled_from(["w", "a.b", "größe", "x/y", "\n", "0"])


@st.composite
def tensors(draw: st.DrawFn, dtypes: list[torch.dtype], bases: list[torch.Tensor]) -> torch.Tensor:
    """A view of a storage of its own, or of an earlier one."""
    if not bases or draw(st.booleans()):
        seed = torch.Generator().manual_seed(draw(st.integers(0, 2**32 - 1)))
        count = draw(st.integers(1, 60))
        bytes_ = torch.randint(0, 256, (8 * count,), generator=seed, dtype=torch.uint8)
        dtype = draw(st.sampled_from(dtypes))
        base = bytes_ % 2 == 1 if dtype == torch.bool else bytes_.view(dtype)  # any bits, NaN too
        bases.append(base[:count])
    base = draw(st.sampled_from(bases))
    shape = draw(st.lists(st.integers(0, 4), max_size=5))
    stride = [draw(st.integers(0, 9)) for _ in shape]
    reach = sum((side - 1) * step for side, step in zip(shape, stride, strict=True))
    if 0 not in shape and reach >= len(base):
        shape, stride, reach = [len(base)], [1], len(base) - 1
    offset = draw(st.integers(0, max(0, len(base) - 1 - max(reach, 0))))
    view = base.as_strided(shape, stride, offset)
    if view.is_floating_point() and draw(st.booleans()):
        return torch.nn.Parameter(view, requires_grad=draw(st.booleans()))
    return view


def plain(dtypes: list[torch.dtype], bases: list[torch.Tensor]) -> st.SearchStrategy[Any]:
    """Values that may stand beside weights: nested, or tensors that share with the weights."""
    leaves = (
        st.none()
        | st.booleans()
        | st.integers(-(2**70), 2**70)
        | st.floats(allow_nan=False)
        | st.text(max_size=8)
        | st.binary(max_size=8)
        | tensors(dtypes, bases)
    )
    return st.recursive(
        leaves,
        lambda parts: (
            st.lists(parts, max_size=3)
            | st.lists(parts, max_size=3).map(tuple)
            | st.dictionaries(st.text(max_size=3) | st.integers(), parts, max_size=3)
        ),
        max_leaves=8,
    )


@st.composite
def checkpoints(draw: st.DrawFn) -> tuple[Any, str, bool, int]:
    """An object to save, the key of its weights, whether it is a zip archive, and the protocol."""
    zipped = draw(st.booleans())
    dtypes, bases = [*FLOATS, *WHOLE, *(WIDE if zipped else [])], []
    names = draw(st.lists(KEYS, min_size=1, max_size=5, unique=True))
    made = [(name, draw(tensors(dtypes, bases))) for name in names]
    root: Any = draw(st.sampled_from([dict, OrderedDict]))(made)
    path = draw(st.lists(st.sampled_from(PREFERRED), max_size=2, unique=True))
    for name in reversed(path):
        # so deep that nothing beside the weights is taken for weights
        others = draw(
            st.dictionaries(
                st.sampled_from(["epoch", "args", "log"]),
                plain(dtypes, bases).map(lambda value: {"in": {"here": {"at": value}}}),
            )
        )
        root = {**others, name: root} if draw(st.booleans()) else {name: root, **others}
    return root, ".".join(path), zipped, draw(st.sampled_from([2, 3, 4, 5]))


def bits(tensor: torch.Tensor) -> tuple[str, tuple[int, ...], bytes]:
    """A tensor's type, shape and values; bfloat16 as the float32 that it is."""
    tensor = tensor.detach()
    values = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
    return str(tensor.dtype), tuple(tensor.shape), values.numpy().tobytes()


def same_value(got: Any, expected: Any) -> None:
    """Plain values, and tensors bit for bit."""
    if isinstance(expected, torch.Tensor):
        assert isinstance(got, LazyTensor)
        array = got.read()
        assert (f"torch.{got.dtype}", got.shape, array.tobytes()) == bits(expected)
        assert array.shape == got.shape
    elif isinstance(expected, dict):
        assert isinstance(got, dict)
        assert list(got) == list(expected)
        for name, part in expected.items():
            same_value(got[name], part)
    elif isinstance(expected, (list, tuple)):
        assert type(got) is type(expected)
        assert len(got) == len(expected)
        for part, wanted in zip(got, expected, strict=True):
            same_value(part, wanted)
    else:
        assert (type(got), got) == (type(expected), expected)


def opened(checkpoint: Checkpoint, loaded: Any, key: str) -> None:
    """The weights are those under a key, and all else stands beside them."""
    level, expected = loaded, {}
    names = key.split(".") if key else []
    for depth, name in enumerate(names):
        before = "".join(f"{n}." for n in names[:depth])
        expected |= {f"{before}{k}": v for k, v in level.items() if k != name}
        level = level[name]
    assert checkpoint.key == key
    same_value(dict(checkpoint.tensors), dict(level))
    assert all(tensor.name == name for name, tensor in checkpoint.tensors.items())
    assert checkpoint.extras.keys() == expected.keys()
    for name, value in expected.items():
        same_value(checkpoint.extras[name], value)


@many(150)
@given(checkpoints())
def test_whatever_is_saved_reads_as_torch_loads_it(
    tmp_path_factory: pytest.TempPathFactory, case: tuple[Any, str, bool, int]
) -> None:
    value, key, zipped, protocol = case
    path = tmp_path_factory.getbasetemp() / "any"
    torch.save(value, path, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    opened(open_checkpoint(path), torch.load(path, weights_only=False), key)


@st.composite
def modules(draw: st.DrawFn) -> torch.nn.Module:
    """A module of modules, with parameters and buffers that may be shared, None or not kept."""
    module = torch.nn.Module()
    shared: list[torch.nn.Parameter] = []
    for number in range(draw(st.integers(1, 4))):
        name = f"part{number}"
        kind = draw(st.sampled_from(["module", "parameter", "buffer", "none", "shared"]))
        value = torch.randn(draw(st.integers(1, 3)), draw(st.integers(1, 3)))
        if kind == "module":
            module.add_module(name, draw(st.sampled_from([_linear, _norm]))(value.shape[1]))
        elif kind == "parameter":
            shared.append(torch.nn.Parameter(value))
            module.register_parameter(name, shared[-1])
        elif kind == "buffer":
            module.register_buffer(name, value, persistent=draw(st.booleans()))
        elif kind == "shared" and shared:
            module.register_parameter(name, shared[0])
        else:
            module.register_parameter(name, None)
    module.weight = torch.nn.Parameter(torch.randn(2, 3))
    return torch.nn.Sequential(module, _linear(3)) if draw(st.booleans()) else module


def _linear(channels: int) -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Linear(channels, 3, bias=channels > 1), torch.nn.GELU())


def _norm(channels: int) -> torch.nn.Module:
    return torch.nn.BatchNorm1d(channels)


@many(20)
@given(modules(), st.booleans(), st.sampled_from([2, 4]))
def test_any_whole_module_reads_as_its_state_dict(
    tmp_path_factory: pytest.TempPathFactory, module: torch.nn.Module, zipped: bool, protocol: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "module"
    torch.save(module, path, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    opened(open_checkpoint(path), module.state_dict(), "")


@many(50)
@given(
    st.dictionaries(
        st.text(min_size=1, max_size=8),
        st.tuples(
            st.sampled_from(["<f2", "<f4", ">f4", "<f8", "<i8", ">i2", "u1", "?"]),
            st.lists(st.integers(0, 4), max_size=4),
            st.permutations(range(4)),
        ),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from([2, 3, 4, 5]),
)
def test_any_arrays_of_numpy_read_as_torch_loads_them(
    tmp_path_factory: pytest.TempPathFactory,
    parts: dict[str, tuple[str, list[int], list[int]]],
    protocol: int,
) -> None:
    rng = np.random.default_rng(0)
    arrays = {}
    for name, (dtype, shape, order) in parts.items():
        axes = [axis for axis in order if axis < len(shape)]
        array = rng.integers(0, 200, shape).astype(dtype).transpose(axes)
        arrays[name] = array
    path = tmp_path_factory.getbasetemp() / "arrays"
    torch.save(arrays, path, pickle_protocol=protocol)
    loaded = torch.load(path, weights_only=False)
    tensors = open_checkpoint(path).tensors
    assert list(tensors) == list(loaded)
    for name, array in loaded.items():
        got = tensors[name].read()
        assert got.shape == array.shape == tensors[name].shape
        assert got.dtype == array.dtype.newbyteorder("=")
        assert np.array_equal(got, array)
