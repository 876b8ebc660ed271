"""A file that is no checkpoint is refused, saying what it looks like."""

import io
import os
import pickle
import tarfile
import zipfile

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

from vit_convert.checkpoint import open_checkpoint
from vit_convert.errors import CheckpointError


def jpeg() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 6)).save(file, "JPEG")
    return file.getvalue()


def hdf5() -> bytes:
    file = io.BytesIO()
    with h5py.File(file, "w") as group:
        group["w"] = np.ones(3)
    return file.getvalue()


def tar() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("storages"))
    return file.getvalue()


def archive(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        for name, content in members.items():
            made.writestr(name, content)
    return file.getvalue()


def npy() -> bytes:
    file = io.BytesIO()
    np.save(file, np.ones(3))
    return file.getvalue()


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 346284714\n"
CASES = {
    "git-lfs pointer": (LFS, "git-lfs pointer", "git lfs pull"),
    "html": (b"\n<!DOCTYPE html><html><body>Sign in</body>", "HTML page", "download"),
    "jpeg": (jpeg(), "JPEG picture", ""),
    "keras h5": (hdf5(), "HDF5", "export takes"),
    "keras archive": (archive(**{"model.weights.h5": hdf5()}), r"\.keras archive", "export takes"),
    "zipped checkpoint": (archive(**{"a/vit.pth": b"x"}), "with a checkpoint in it", "vit.pth"),
    "other zip": (archive(readme=b"x"), "zip archive without", ""),
    "empty zip": (archive(), "zip archive without", ""),
    "npy": (npy(), "single NumPy array", "savez"),
    "gzip": (b"\x1f\x8b\x08" + bytes(20), "gzip", "unpack"),
    "tar": (tar(), "tar archive", "unpack"),
    "text": (b"Hello, this is a text.\n", "text that begins with 'Hello", ""),
    "text in utf-8": ("größer ".encode() * 700, "text", ""),
    "json": (b'{"architectures": ["ViTForImageClassification"]}', "JSON", ""),
    "sharded index": (
        b'{"metadata": {}, "weight_map": {"a": "x-1.safetensors"}}',
        "index",
        "one of",
    ),
    "zeros": (bytes(1000), "zeros", "again"),
    "pickle": (pickle.dumps({"w": 1}), "pickle that torch.save did not write", "torch.save"),
    "noise": (bytes(range(128, 256)) * 8, "not a checkpoint of any kind", ""),
    "one byte": (b"\x80", "not a checkpoint", ""),
    "tflite": (b"\x1c\x00\x00\x00TFL3" + bytes(64), "TFLite", "verify"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_it_looks_like(tmp_path, case):
    content, what, hint = CASES[case]
    path = tmp_path / "vit.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=what) as caught:
        open_checkpoint(path)
    assert caught.value.where == str(path)
    assert ".safetensors" in caught.value.expected
    assert hint in caught.value.hint


def test_a_missing_file(tmp_path):
    with pytest.raises(CheckpointError, match="no such file"):
        open_checkpoint(tmp_path / "nothing.pth")


def test_a_folder_names_the_checkpoints_in_it(tmp_path):
    (tmp_path / "epoch3.safetensors").touch()
    with pytest.raises(CheckpointError, match="folder") as caught:
        open_checkpoint(tmp_path)
    assert "epoch3.safetensors" in caught.value.hint


def test_an_empty_file(tmp_path):
    (tmp_path / "x.pth").touch()
    with pytest.raises(CheckpointError, match="empty"):
        open_checkpoint(tmp_path / "x.pth")


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CheckpointError, match="a pipe, not a regular file"):
        open_checkpoint(tmp_path / "pipe")


def test_an_impossible_path():
    with pytest.raises(CheckpointError, match=r"cannot be opened|no such file"):
        open_checkpoint("a\0b")


def test_the_name_does_not_matter(tmp_path):
    torch.save({"w": torch.ones(2)}, tmp_path / "picture.jpg")
    assert open_checkpoint(str(tmp_path / "picture.jpg")).format == "torch zip"


@pytest.mark.parametrize("part", [0.2, 0.5, 0.9, 0.999])
def test_truncated_files(save, part):
    path = save({"w": torch.randn(50, 7), "b": torch.randn(30)})
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(CheckpointError, match=r"truncated|damaged"):
        open_checkpoint(path)
