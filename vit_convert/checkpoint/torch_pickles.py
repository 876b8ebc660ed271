"""The functions of `torch._utils` by which pickles rebuild tensors, made to give lazy tensors.

Each takes the pickled arguments and gives NotImplemented if they are not of the known form.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vit_convert.checkpoint.inert import Global, Inert
from vit_convert.checkpoint.numpy_pickles import NumpyArray
from vit_convert.checkpoint.strided import Storage, unreadable, view
from vit_convert.checkpoint.tensor import LazyTensor

_STORAGE_TYPES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
    "QInt8Storage": "qint8",
    "QUInt8Storage": "quint8",
    "QInt32Storage": "qint32",
    "QUInt4x2Storage": "quint4x2",
    "QUInt2x4Storage": "quint2x4",
    "UntypedStorage": "",
    "_UntypedStorage": "",
}
_ALIASES = {
    "double": "float64",
    "float": "float32",
    "half": "float16",
    "long": "int64",
    "int": "int32",
    "short": "int16",
}


def storage_dtype(kind: Any) -> str | None:
    """The element type of a pickled storage class: "" if it has none, None if it is unknown."""
    match kind:
        case Global(module="torch" | "torch.cuda" | "torch.storage", name=name):
            return _STORAGE_TYPES.get(name)
    return None


def _dtype(value: Any) -> str | None:
    match value:
        case Global(module="torch", name=name):
            return _ALIASES.get(name, name)
    return None


def _strided(args: tuple[Any, ...]) -> Any:
    match args:
        case (Storage() as storage, offset, shape, stride, *_) if storage.dtype:
            return view(storage, storage.dtype, offset, shape, stride)
    return NotImplemented


def _untyped(args: tuple[Any, ...]) -> Any:
    match args:
        case (Storage() as storage, offset, shape, stride, _, _, dtype, *_):
            name = _dtype(dtype)
            if name is not None:
                return view(storage, name, offset, shape, stride)
    return NotImplemented


def _first(args: tuple[Any, ...]) -> Any:
    """Of those that wrap one tensor: it."""
    return args[0] if args and isinstance(args[0], LazyTensor) else NotImplemented


def _subclass(args: tuple[Any, ...]) -> Any:
    """(function, class, its arguments, state): what the function makes."""
    match args:
        case (Global() as function, _, tuple() as inner, *_):
            make = TORCH.get((function.module, function.name))
            return make(inner) if make else NotImplemented
    return NotImplemented


def _meta(args: tuple[Any, ...]) -> Any:
    shape = args[1] if len(args) > 1 else ()
    return unreadable("meta", shape, "a tensor on the meta device, without any values")


def _quantised(args: tuple[Any, ...]) -> Any:
    shape = args[2] if len(args) > 2 else ()
    return unreadable("quantised", shape, "a quantised tensor")


def _sparse(args: tuple[Any, ...]) -> Any:
    shape: Any = ()
    match args:
        case (_, tuple() as data):
            # (indices, values, size, ...), or for compressed layouts with two index tensors
            shape = next((part for part in data if isinstance(part, tuple)), ())
    return unreadable("sparse", shape, "a sparse tensor")


def _special(args: tuple[Any, ...]) -> Any:
    return unreadable("special", (), "a tensor of a special kind (nested, or of another device)")


def _numpy_device(args: tuple[Any, ...]) -> Any:
    match args:
        case (NumpyArray() as made, *_) if made.array is not None:
            return LazyTensor.of("", made.array)
    return _special(args)


def _size(args: tuple[Any, ...]) -> Any:
    match args:
        case ():
            return ()
        case (tuple() | list() as sides,):
            return tuple(sides)
    return NotImplemented


def _device(args: tuple[Any, ...]) -> Any:
    plain = args and all(isinstance(part, (str, int)) for part in args)
    return Inert(Global("torch", "device"), args) if not plain else ":".join(map(str, args))


TORCH: dict[tuple[str, str], Callable[[tuple[Any, ...]], Any]] = {
    ("torch._utils", "_rebuild_tensor"): _strided,
    ("torch._utils", "_rebuild_tensor_v2"): _strided,
    ("torch._utils", "_rebuild_tensor_v3"): _untyped,
    ("torch._utils", "_rebuild_parameter"): _first,
    ("torch._utils", "_rebuild_parameter_with_state"): _first,
    ("torch.nn.parameter", "Parameter"): _first,
    ("torch._utils", "_rebuild_device_tensor_from_cpu_tensor"): _first,
    ("torch._utils", "_rebuild_device_tensor_from_numpy"): _numpy_device,
    ("torch._utils", "_rebuild_xla_tensor"): _numpy_device,
    ("torch._tensor", "_rebuild_from_type"): _subclass,
    ("torch._tensor", "_rebuild_from_type_v2"): _subclass,
    ("torch._utils", "_rebuild_meta_tensor_no_storage"): _meta,
    ("torch._utils", "_rebuild_qtensor"): _quantised,
    ("torch._utils", "_rebuild_sparse_tensor"): _sparse,
    ("torch._utils", "_rebuild_sparse_csr_tensor"): _sparse,
    ("torch._utils", "_rebuild_nested_tensor"): _special,
    ("torch._utils", "_rebuild_wrapper_subclass"): _special,
    ("torch", "Size"): _size,
    ("torch", "device"): _device,
}
