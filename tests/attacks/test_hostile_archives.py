"""Zip files that lie about their members are refused, before anything of that size is made."""

import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
from builders import state, tensor

from vit_convert.checkpoint import LazyTensor, open_checkpoint
from vit_convert.errors import CheckpointError


@pytest.fixture
def read_all():
    """Opening and reading take hardly any memory, whatever is claimed."""

    def measured(path):
        tracemalloc.start()
        try:
            checkpoint = open_checkpoint(path)
            for value in (*checkpoint.tensors.values(), *checkpoint.extras.values()):
                if isinstance(value, LazyTensor):
                    value.read()
        finally:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert peak < 2_000_000

    return measured


def test_a_deflated_storage_larger_than_its_tensors(read_all, torch_zip):
    path = torch_zip(state(), {"0": bytes(50_000_000)}, zipfile.ZIP_DEFLATED)
    with pytest.raises(CheckpointError, match="50000000 bytes where the tensors need 12"):
        read_all(path)


def lie(path, member: str, *, size: int | None = None, packed: int | None = None) -> None:
    """Change the sizes that the central directory states."""
    content = bytearray(path.read_bytes())
    start = content.rindex(b"PK\x01\x02", 0, content.rindex(member.encode()))
    if packed is not None:
        struct.pack_into("<I", content, start + 20, packed)
    if size is not None:
        struct.pack_into("<I", content, start + 24, size)
    path.write_bytes(content)


def test_a_deflated_storage_that_unpacks_to_more_than_it_says(read_all, torch_zip):
    path = torch_zip(state(), {"0": bytes(50_000_000)}, zipfile.ZIP_DEFLATED)
    lie(path, "data/0", size=12)
    with pytest.raises(CheckpointError, match="damaged"):
        read_all(path)


def test_a_deflated_storage_that_cannot_be_as_large_as_it_says(read_all, torch_zip):
    wide = tensor(shape=(1 << 29,), count=1 << 29)
    path = torch_zip(
        state(wide.replace(b"X\1\0\0\0000", b"X\1\0\0\0001")), {"0": bytes(12), "1": bytes(99)}, 8
    )
    lie(path, "data/1", size=1 << 31)
    with pytest.raises(CheckpointError, match="unpacked_bytes"):
        read_all(path)


def test_a_pickle_that_unpacks_to_gigabytes(read_all, torch_zip):
    path = torch_zip(b"\x80\x02" + b"0" * 1000, {}, zipfile.ZIP_DEFLATED)
    lie(path, "data.pkl", size=(1 << 30) + 1)
    with pytest.raises(CheckpointError, match="unpacked_bytes"):
        read_all(path)


@pytest.mark.parametrize("packed", [0, 11, 13, 1 << 31])
def test_a_stored_member_of_two_sizes(read_all, torch_zip, packed):
    path = torch_zip(state(), {"0": bytes(12)})
    lie(path, "data/0", packed=packed)
    with pytest.raises(CheckpointError):
        read_all(path)


def test_a_member_beyond_the_end(read_all, torch_zip):
    path = torch_zip(state(), {"0": bytes(12)})
    content = bytearray(path.read_bytes())
    start = content.rindex(b"PK\x01\x02", 0, content.rindex(b"data/0"))
    struct.pack_into("<I", content, start + 42, len(content) - 4)
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"truncated|damaged"):
        read_all(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name(read_all, tmp_path):
    with zipfile.ZipFile(tmp_path / "x", "w") as archive:
        archive.writestr("archive/data.pkl", state())
        archive.writestr("archive/data/0", np.zeros(3, "<f4").tobytes())
        archive.writestr("archive/data/0", np.ones(3, "<f4").tobytes())
    with pytest.raises(CheckpointError, match="same name"):
        read_all(tmp_path / "x")


def test_an_encrypted_member(read_all, torch_zip):
    path = torch_zip(state(), {"0": bytes(12)})
    content = bytearray(path.read_bytes())
    start = content.rindex(b"PK\x01\x02", 0, content.rindex(b"data/0"))
    content[start + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="encrypted"):
        read_all(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compression_is_refused_by_number(read_all, torch_zip, method):
    with pytest.raises(CheckpointError, match=f"method {method}"):
        read_all(torch_zip(state(), {"0": bytes(12)}, method))


def test_paths_that_climb_are_only_names(tmp_path):
    with zipfile.ZipFile(tmp_path / "x", "w") as archive:
        archive.writestr("../data.pkl", state())
        archive.writestr("../data/0", np.arange(3, dtype="<f4").tobytes())
        archive.writestr("../../../etc/evil", b"x")
    before = sorted(tmp_path.rglob("*"))
    assert open_checkpoint(tmp_path / "x").tensors["w"].read().tolist() == [0, 1, 2]
    assert sorted(tmp_path.rglob("*")) == before
