"""What is written, PyTorch and safetensors open, bit for bit."""

import struct
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors import safe_open
from safetensors.torch import load_file

from vit_convert.checkpoint import open_checkpoint, write_safetensors, write_torch
from vit_convert.checkpoint.encoding import rounded

WRITERS = [write_safetensors, write_torch]
FLOATS = ["float64", "float32", "float16"]
COMMON = [*FLOATS, "int64", "int32", "int16", "int8", "uint8", "bool"]


def loaded(path, write) -> dict[str, torch.Tensor]:
    return load_file(path) if write is write_safetensors else torch.load(path, weights_only=True)


@pytest.mark.parametrize("write", WRITERS)
def test_every_dtype_and_layout(tmp_path, write):
    arrays = {name: np.arange(-7, 8).reshape(3, 5).astype(name) for name in COMMON}
    arrays["transposed"] = np.arange(6.0).reshape(2, 3).T
    arrays["big"] = np.arange(6.0).astype(">f8")
    arrays["scalar"] = np.array(2.5, np.float32)
    arrays["empty"] = np.ones((0, 3), np.float32)
    arrays["größe.weight"] = np.array([np.nan, -0.0, np.inf], np.float32)
    write(tmp_path / "x", arrays)
    result = loaded(tmp_path / "x", write)
    assert set(result) == set(arrays)
    for name, array in arrays.items():
        assert tuple(result[name].shape) == array.shape
        assert result[name].numpy().dtype == array.dtype.newbyteorder("=")
        assert np.array_equal(result[name].numpy(), array, equal_nan=array.dtype.kind == "f")
    read = open_checkpoint(tmp_path / "x").tensors
    assert all(
        np.array_equal(read[n].read(), a, equal_nan=a.dtype.kind == "f") for n, a in arrays.items()
    )


def test_unsigned_types_in_safetensors(tmp_path):
    arrays = {name: np.arange(6).astype(name) for name in ("uint16", "uint32", "uint64")}
    write_safetensors(tmp_path / "x", arrays)
    for name, tensor in load_file(tmp_path / "x").items():
        assert str(tensor.dtype) == f"torch.{name}"
        assert tensor.tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("write", WRITERS)
def test_every_bfloat16_goes_round(tmp_path, write):
    bits = np.arange(1 << 16, dtype=np.uint32)
    values = (bits << 16).view(np.float32).reshape(256, 256)
    write(tmp_path / "x", {"w": values, "b": np.ones(3, np.float32)}, {"w": "bfloat16"})
    result = loaded(tmp_path / "x", write)
    assert result["w"].dtype == torch.bfloat16
    assert result["b"].dtype == torch.float32
    assert np.array_equal(result["w"].view(torch.uint16).numpy().reshape(-1), bits)
    tensor = open_checkpoint(tmp_path / "x").tensors["w"]
    assert tensor.dtype == "bfloat16"
    assert tensor.read().tobytes() == values.tobytes()


@pytest.mark.parametrize("write", WRITERS)
def test_given_types(tmp_path, write):
    array = np.array([[0.5, 2.0, np.nan]], np.float32)
    write(tmp_path / "x", {"h": array, "d": array}, {"h": "float16", "d": "float64"})
    result = loaded(tmp_path / "x", write)
    assert (result["h"].dtype, result["d"].dtype) == (torch.float16, torch.float64)
    assert np.array_equal(result["h"].float().numpy(), array, equal_nan=True)


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize(
    ("array", "dtype"),
    [
        (np.float32([1.001]), "bfloat16"),
        (np.float64([1.0000001]), "bfloat16"),
        (np.float32([1e6]), "float16"),
        (np.float64([0.1]), "float32"),
        (np.float32([1.5]), "int64"),
        (np.float32([np.nan]), "int64"),
        (np.int64([300]), "uint8"),
        (np.int64([2]), "bool"),
        (np.complex64([1j]), "complex64"),
        (np.float32([1]), "float8_e5m2"),
    ],
)
def test_no_value_is_changed_silently(tmp_path, write, array, dtype):
    with pytest.raises(ValueError, match=f"w: .*{dtype}"):
        write(tmp_path / "x", {"w": array}, {"w": dtype})


@pytest.mark.parametrize("write", WRITERS)
def test_types_for_no_tensor(tmp_path, write):
    with pytest.raises(ValueError, match="nope"):
        write(tmp_path / "x", {"w": np.ones(2)}, {"nope": "float16"})


def test_metadata(tmp_path):
    write_safetensors(tmp_path / "x", {"w": np.ones(2)}, metadata={"format": "pt", "ü": "ß"})
    with safe_open(tmp_path / "x", "np") as file:
        assert file.metadata() == {"format": "pt", "ü": "ß"}
    assert open_checkpoint(tmp_path / "x").extras == {"format": "pt", "ü": "ß"}


def test_safetensors_lie_aligned(tmp_path):
    arrays = {"a": np.ones(3, np.int8), "b": np.ones(5, np.float64), "c": np.ones(3, np.float16)}
    write_safetensors(tmp_path / "x", arrays)
    (length,) = struct.unpack("<Q", (tmp_path / "x").read_bytes()[:8])
    assert length % 8 == 0
    assert all(t.read().flags.aligned for t in open_checkpoint(tmp_path / "x").tensors.values())


def test_torch_storages_lie_at_multiples_of_64_and_torch_maps_them(tmp_path):
    arrays = {f"layer.{i}": np.random.rand(i + 1, 3).astype(np.float32) for i in range(12)}
    write_torch(tmp_path / "x", arrays)
    with zipfile.ZipFile(tmp_path / "x") as archive:
        assert archive.testzip() is None
        names = set(archive.namelist())
    assert {"archive/version", "archive/byteorder", "archive/data.pkl", "archive/data/11"} <= names
    content = (tmp_path / "x").read_bytes()
    assert all(content.index(array.tobytes()) % 64 == 0 for array in arrays.values())
    result = torch.load(tmp_path / "x", weights_only=True, mmap=True)
    assert list(result) == list(arrays)
    assert all(np.array_equal(result[name].numpy(), array) for name, array in arrays.items())


@pytest.mark.parametrize("write", WRITERS)
def test_the_same_tensors_give_the_same_file(tmp_path, write):
    for name in "ab":
        write(tmp_path / name, {"w": np.arange(5.0), "v": np.ones((2, 3), np.float16)})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8"), min_size=1).filter(
            lambda name: name != "__metadata__"
        ),
        st.sampled_from(COMMON).flatmap(
            lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, min_side=0, max_side=4))
        ),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from(WRITERS),
)
def test_any_arrays_go_round(tmp_path_factory, arrays, write):
    path = tmp_path_factory.mktemp("any") / "x"
    write(path, arrays)
    read = open_checkpoint(path).tensors
    theirs = loaded(path, write)
    assert set(read) == set(arrays) == set(theirs)
    for name, array in arrays.items():
        assert read[name].read().tobytes() == array.tobytes()
        assert theirs[name].numpy().tobytes() == array.tobytes()
        assert read[name].shape == array.shape


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_values_are_rounded_as_pytorch_rounds_them(dtype):
    rng = np.random.default_rng(5)
    values = (rng.standard_normal((37, 41)) * 10.0 ** rng.integers(-7, 4, (37, 41))).astype("f4")
    halves = np.array([1 + 2.0**-8, 1 + 3 * 2.0**-8, 1 + 2.0**-11, 1 + 3 * 2.0**-11], np.float32)
    array = np.append(values, [*halves, *-halves, np.nan, np.inf, -np.inf, -0.0]).astype("f4")
    result = rounded(array, dtype)
    expected = torch.from_numpy(array).to(getattr(torch, dtype)).float().numpy()
    assert np.array_equal(result.astype(np.float32), expected, equal_nan=True)
    assert np.array_equal(np.signbit(result[:-4]), np.signbit(expected[:-4]))


@pytest.mark.parametrize(
    ("dtype", "most", "beyond"),
    [
        ("float16", 65504, [65520, -70000]),
        ("bfloat16", 3.3895314e38, [-3.4e38, 3.41e38]),
        ("float32", 3.4028235e38, [3.5e38, -1e39]),
    ],
)
def test_a_value_that_would_become_infinite_is_refused_and_said(dtype, most, beyond):
    array = np.array([most, -most, np.inf, np.nan], np.float64)
    assert np.array_equal(np.isfinite(rounded(array, dtype)), [True, True, False, False])
    with pytest.raises(ValueError, match=f"{beyond[0]:g} is beyond {dtype}".replace("+", r"\+")):
        rounded(np.array([1.0, np.inf, *beyond]), dtype)


@pytest.mark.parametrize("dtype", ["int64", "uint8", "bool"])
def test_what_is_no_floating_point_is_not_rounded(dtype):
    array = np.array([0, 1, 1, 0]).astype(dtype)
    assert rounded(array, "float16") is array
