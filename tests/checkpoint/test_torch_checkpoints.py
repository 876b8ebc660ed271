"""Files of torch.save are read as torch.load reads them."""

import datetime
import io
import pickle
import struct
import zipfile
from argparse import Namespace
from collections import OrderedDict, defaultdict
from enum import Enum
from pathlib import Path

import numpy as np
import pytest
import torch

from vit_convert.checkpoint import open_checkpoint
from vit_convert.checkpoint.inert import Inert
from vit_convert.checkpoint.numpy_pickles import NumpyType, frombuffer
from vit_convert.errors import CheckpointError

DTYPES = [
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint64,
    torch.uint32,
    torch.uint16,
    torch.uint8,
    torch.bool,
]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype(save, same_as, dtype):
    state = {"w": torch.arange(-7, 8).reshape(3, 5).to(dtype), "b": torch.ones(2, dtype=dtype)}
    same_as(open_checkpoint(save(state)), state)


def test_special_values(save, same_as):
    values = torch.tensor([0.0, -0.0, torch.inf, -torch.inf, torch.nan, 1e-45, 3e38])
    state = {str(t): values.to(t) for t in (torch.float32, torch.float16, torch.bfloat16)}
    same_as(open_checkpoint(save(state)), state)


def test_shapes(save, same_as):
    shapes = [(), (0,), (3, 0, 2), (1,), (1, 1, 7), (2, 3, 4, 5, 6)]
    state = {str(shape): torch.randn(shape) for shape in shapes}
    same_as(open_checkpoint(save(state)), state)


def test_views_and_shared_storages(save, same_as):
    base = torch.arange(120, dtype=torch.float32)
    state = {
        "whole": base,
        "transposed": base.view(8, 15).t(),
        "permuted": base.view(2, 3, 4, 5).permute(3, 0, 2, 1),
        "slice": base[17:59:3],
        "window": base.as_strided((5, 7), (11, 2), 13),
        "overlapping": base.as_strided((6, 4), (1, 1), 100),
        "expanded": base[3].expand(4, 6),
        "last": base[119:],
        "empty": base[120:],
    }
    path = save(state)
    same_as(open_checkpoint(path), state)
    expected = torch.load(path)
    for name, tensor in open_checkpoint(path).tensors.items():
        assert np.array_equal(tensor.read(), expected[name].numpy())


def test_parameters_and_tied_weights(save, same_as):
    weight = torch.nn.Parameter(torch.randn(3, 2))
    weight.note = "attributes do not matter"
    state = {"a": weight, "b": weight, "frozen": torch.nn.Parameter(torch.ones(2), False)}
    checkpoint = open_checkpoint(save(state))
    same_as(checkpoint, state)


def test_a_module_s_state_dict(save, same_as):
    module = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.BatchNorm1d(5))
    same_as(open_checkpoint(save(module.state_dict())), module.state_dict())


@pytest.mark.parametrize("wrap", [torch.nn.Module.requires_grad_, torch.nn.DataParallel])
@pytest.mark.parametrize("key", ["", "model"])
def test_a_whole_pickled_module(save, same_as, wrap, key):
    inner = torch.nn.Sequential(torch.nn.Linear(3, 5, bias=False), torch.nn.BatchNorm1d(5))
    inner.register_buffer("hidden", torch.ones(2), persistent=False)
    module = wrap(inner)
    checkpoint = open_checkpoint(save({"model": module, "epoch": 1} if key else module))
    assert checkpoint.key == key
    same_as(checkpoint, module.state_dict())


class Colour(Enum):
    RED = 1


class Unknown:
    def __init__(self) -> None:
        self.anything = [1, 2]


def test_what_stands_beside_the_weights(save):
    weight = torch.nn.Parameter(torch.randn(4, 3))
    optimizer = torch.optim.AdamW([weight])
    weight.sum().backward()
    optimizer.step()
    now = datetime.datetime(2021, 2, 3, 4, 5, 6, 789)
    extras = open_checkpoint(
        save(
            {
                "model": OrderedDict(weight=weight),
                "epoch": 17,
                "best": np.float64(0.5),
                "count": np.int64(3),
                "array": np.arange(6.0, dtype=np.float32).reshape(2, 3).T,
                "args": Namespace(lr=0.1, out=Path("/a/b"), nested=Namespace(x=(1, 2))),
                "log": defaultdict(list, loss=[1.0, 2.0]),
                "when": now,
                "day": now.date(),
                "took": datetime.timedelta(days=1, microseconds=5),
                "tags": {"a", "b"},
                "frozen": frozenset([1]),
                "raw": b"\x00\xff",
                "size": torch.Size([2, 3]),
                "device": torch.device("cuda", 1),
                "dtype": torch.float16,
                "colour": Colour.RED,
                "object": Unknown(),
                "optimizer": optimizer.state_dict(),
            }
        )
    ).extras
    assert extras["epoch"] == 17
    assert (extras["best"], extras["count"]) == (0.5, 3)
    assert extras["array"].read().tolist() == [[0, 3], [1, 4], [2, 5]]
    assert extras["args"] == {"lr": 0.1, "out": "/a/b", "nested": {"x": (1, 2)}}
    assert extras["log"] == {"loss": [1.0, 2.0]}
    assert extras["when"] == now
    assert extras["day"] == now.date()
    assert extras["took"] == datetime.timedelta(days=1, microseconds=5)
    assert (extras["tags"], extras["frozen"]) == ({"a", "b"}, {1})
    assert extras["raw"] == b"\x00\xff"
    assert (extras["size"], extras["device"]) == ((2, 3), "cuda:1")
    assert repr(extras["dtype"]) == "<torch.float16>"
    assert isinstance(extras["colour"], Inert)
    assert extras["colour"].type_name.endswith("Colour")
    assert extras["colour"].args == (1,)
    assert extras["object"].attributes == {"anything": [1, 2]}
    assert extras["optimizer"]["param_groups"][0]["lr"] == 0.001
    moment = extras["optimizer"]["state"][0]["exp_avg"].read()
    assert np.array_equal(moment, optimizer.state[weight]["exp_avg"].numpy())


@pytest.mark.parametrize("dtype", ["f2", "f4", ">f4", "f8", "i8", "u1", "?"])
@pytest.mark.parametrize("protocol", [2, 4])
def test_numpy_arrays_as_weights(tmp_path, dtype, protocol):
    state = {
        "w": np.asfortranarray(np.arange(6).reshape(2, 3).astype(dtype)),
        "e": np.empty((0, 2)),
    }
    torch.save(state, tmp_path / "x", pickle_protocol=protocol)
    tensors = open_checkpoint(tmp_path / "x").tensors
    assert np.array_equal(tensors["w"].read(), state["w"])
    assert tensors["w"].read().dtype.isnative
    assert tensors["e"].shape == (0, 2)


@pytest.mark.parametrize(
    "axes", [(0, 1, 0), (0, 1), (0, 1, 3), (0, 1, -1), "012", None, (0, 1, [])]
)
def test_of_an_array_in_an_impossible_order_nothing_is_made(axes):
    kind = NumpyType("<f4")
    whole = (bytes(4 * 24), kind, (2, 3, 4), "K")
    assert frombuffer((*whole, (2, 0, 1))).array.shape == (4, 2, 3)
    assert frombuffer((*whole, axes)) is NotImplemented
    assert frombuffer(whole) is NotImplemented


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("new", [True, False])
def test_every_pickle_protocol(tmp_path, same_as, protocol, new):
    state = {"w": torch.randn(2, 3), "b": torch.zeros(4, dtype=torch.uint16)}
    torch.save(state, tmp_path / "x", pickle_protocol=protocol, _use_new_zipfile_serialization=new)
    same_as(open_checkpoint(tmp_path / "x"), state)


REFUSED = {
    "float8_e4m3fn": lambda: torch.ones(3).to(torch.float8_e4m3fn),
    "complex64": lambda: torch.ones(2, 3, dtype=torch.complex64),
    "quantised": lambda: torch.quantize_per_tensor(torch.ones(3), 1.0, 0, torch.qint8),
    "sparse": lambda: torch.eye(3).to_sparse(),
    "meta": lambda: torch.ones(2, 5, device="meta"),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("kind", REFUSED)
def test_unreadable_tensors_are_listed_and_refused_when_used(save, kind):
    tensor = REFUSED[kind]()
    tensors = open_checkpoint(save({"odd": tensor, "good": torch.ones(2)})).tensors
    assert tensors["odd"].shape == tuple(tensor.shape)
    assert tensors["good"].read().tolist() == [1, 1]
    with pytest.raises(CheckpointError, match=f"odd: .*{kind}"):
        tensors["odd"].read()


def repacked(path: Path, change) -> Path:
    """The zip archive with every member passed through `change(name, content)`."""
    target = path.with_name("repacked")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
        for info in old.infolist():
            change(new, info.filename, old.read(info))
    return target


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    return {"w": torch.randn(40, 3), "b": torch.randn(7).to(torch.bfloat16)}


@pytest.fixture
def zipped(tmp_path, state) -> Path:
    torch.save(state, tmp_path / "file.pth")
    return tmp_path / "file.pth"


@pytest.mark.parametrize("prefix", ["archive/", "my.model v2/", "", "größe/"])
def test_any_archive_name(zipped, state, same_as, prefix):
    def rename(new, name, content):
        new.writestr(prefix + name.partition("/")[2], content)

    same_as(open_checkpoint(repacked(zipped, rename)), state)


def test_compressed_members(zipped, state, same_as):
    def deflate(new, name, content):
        new.writestr(name, content, zipfile.ZIP_DEFLATED)

    same_as(open_checkpoint(repacked(zipped, deflate)), state)


def test_zip64(zipped, state, same_as):
    def large(new, name, content):
        with new.open(name, "w", force_zip64=True) as member:
            member.write(content)

    same_as(open_checkpoint(repacked(zipped, large)), state)


def test_big_endian(tmp_path, same_as, monkeypatch):
    state = {"w": torch.arange(6.0).reshape(2, 3), "h": torch.ones(3).to(torch.bfloat16)}
    torch.save(state, tmp_path / "file.pth")

    def swap(new, name, content):
        if name.endswith("byteorder"):
            content = b"big"
        if name.endswith("data/0"):
            content = np.frombuffer(content, "<f4").astype(">f4").tobytes()
        if name.endswith("data/1"):
            content = np.frombuffer(content, "<u2").astype(">u2").tobytes()
        new.writestr(name, content)

    same_as(open_checkpoint(repacked(tmp_path / "file.pth", swap)), state)


def test_without_checksums(tmp_path, state, same_as):
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(state, tmp_path / "x")
    finally:
        torch.serialization.set_crc32_options(True)
    same_as(open_checkpoint(tmp_path / "x"), state)


def test_two_objects_in_one_archive_are_refused(zipped):
    def twice(new, name, content):
        new.writestr(name, content)
        new.writestr("other/" + name.partition("/")[2], content)

    with pytest.raises(CheckpointError, match="2 saved objects"):
        open_checkpoint(repacked(zipped, twice))


def test_a_missing_storage_is_named(zipped):
    def drop(new, name, content):
        if not name.endswith("data/1"):
            new.writestr(name, content)

    with pytest.raises(CheckpointError, match=r"data/1 is missing"):
        open_checkpoint(repacked(zipped, drop))


class Nested(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.stages = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.LayerNorm(5))
        self.scale = torch.nn.Parameter(torch.rand(5))
        self.register_buffer("steps", torch.tensor(7))
        self.name, self.factor = "nested", 2.5

    def forward(self, x):
        return self.stages(x) * self.scale * self.factor


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    "compiled",
    [torch.jit.script, lambda model: torch.jit.trace(model, torch.ones(1, 3).half())],
    ids=["script", "trace"],
)
def test_of_torchscript_the_weights_are_read(compiled, same_as, tmp_path):
    program = compiled(Nested().half())
    torch.jit.save(program, tmp_path / "x.pt")
    same_as(open_checkpoint(tmp_path / "x.pt"), program.state_dict())


def legacy_file(
    path: Path,
    persistent_ids: list[tuple],
    storages: dict[str, bytes],
    size: int,
    length: int | None = None,
) -> Path:
    """A legacy file as PyTorch 0.4 wrote it, with one 1-D tensor on each persistent id, as long as
    the id says, or of another length."""

    class Pickler(pickle._Pickler):
        def persistent_id(self, value):
            return value if isinstance(value, tuple) and value[:1] == ("storage",) else None

    class Tensor:
        def __init__(self, storage, length):
            self.parts = (storage, 0, (length,), (1,), False, OrderedDict())

        def __reduce__(self):
            return torch._utils._rebuild_tensor_v2, self.parts

    file = io.BytesIO()
    for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}):
        pickle.dump(value, file, 2)
    tensors = {
        f"t{i}": Tensor(pid, length or (pid[5][2] if pid[5] else pid[4]))
        for i, pid in enumerate(persistent_ids)
    }
    Pickler(file, 2).dump(tensors)
    pickle.dump(list(storages), file, 2)
    for content in storages.values():
        file.write(struct.pack("<q", len(content) // size) + content)
    path.write_bytes(file.getvalue())
    return path


def test_legacy_storage_views(tmp_path):
    elements = np.arange(10, dtype=np.float32)
    views = [None, ("1", 2, 3), ("2", 6, 4)]
    ids = [("storage", torch.FloatStorage, "k", "cpu", 10, view) for view in views]
    path = legacy_file(tmp_path / "x", ids, {"k": elements.tobytes()}, 4)
    arrays = [tensor.read().tolist() for tensor in open_checkpoint(path).tensors.values()]
    assert arrays == [elements.tolist(), [2, 3, 4], [6, 7, 8, 9]]


@pytest.mark.parametrize("view", [("1", 8, 3), ("1", -1, 3), ("1", 0, 11), (1, 2), "all"])
def test_legacy_views_outside_their_storage_are_refused(tmp_path, view):
    ids = [("storage", torch.FloatStorage, "k", "cpu", 10, None)]
    ids.append(
        (*ids[0][:5], view)
        if isinstance(view, tuple) and len(view) == 3
        else (*ids[0][:5], (1, 2, view))
    )
    path = legacy_file(tmp_path / "x", ids, {"k": bytes(40)}, 4)
    with pytest.raises(CheckpointError, match="outside"):
        open_checkpoint(path)


@pytest.mark.parametrize(("view", "length"), [(None, 10), (("1", 2, 3), 3), (("2", 6, 4), 4)])
def test_a_legacy_tensor_that_reaches_beyond_its_view_is_refused(tmp_path, view, length):
    ids = [("storage", torch.FloatStorage, "k", "cpu", 10, view)]
    path = legacy_file(tmp_path / "x", ids, {"k": bytes(40)}, 4, length + 1)
    with pytest.raises(CheckpointError, match=f"does not fit its storage of {length} elements"):
        open_checkpoint(path)
