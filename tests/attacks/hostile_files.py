"""Small files that once took a reader long, or much memory, or ended in an unforeseen error; and
their kin. Each is made in an empty folder and has the name of the reader that it is for."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from builders import number, state, tensor, text

Make = Callable[[Path], Path]
HOSTILE: dict[str, tuple[str, Make]] = {}
HASH = (1 << 61) - 1  # of integers, in CPython


def hostile(reader: str, name: str) -> Callable[[Make], Make]:
    """Register a file."""

    def register(make: Make) -> Make:
        HOSTILE[f"{reader}: {name}"] = (reader, make)
        return make

    return register


def torch_zip(
    folder: Path, content: bytes, storages: dict[str, bytes] | None = None, method: int = 0
) -> Path:
    path = folder / "hostile.pth"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("archive/data.pkl", content)
        for key, data in (storages or {"0": bytes(12)}).items():
            archive.writestr(f"archive/data/{key}", data)
    return path


def pickled(reader: str, name: str) -> Callable[[Callable[[], bytes]], Callable[[], bytes]]:
    """Register a pickle, in a zip archive and in the legacy format."""

    def register(make: Callable[[], bytes]) -> Callable[[], bytes]:
        @hostile(reader, name)
        def _(folder: Path) -> Path:
            return torch_zip(folder, make())

        @hostile(reader, f"{name}, legacy format")
        def _(folder: Path) -> Path:
            head = b"".join(pickle.dumps(v, 2) for v in (0x1950A86A20F9469CFC6C, 1001, {}))
            path = folder / "hostile.pth"
            path.write_bytes(head + make() + pickle.dumps([], 2))
            return path

        return make

    return register


def doubled(levels: int) -> bytes:
    """A list that holds the same list twice, and so on: 2**levels long when it is shown."""
    return (
        b"]q\x000"
        + b"".join(b"(h%ch%clq%c0" % (i, i, i + 1) for i in range(levels))
        + b"h"
        + bytes([levels])
    )


@pickled("inspect", "a nested list as storage class")
def _() -> bytes:
    storage = b"(" + text("storage") + doubled(40) + text("0") + text("cpu") + number(3) + b"tQ"
    return b"\x80\x02}" + text("w") + storage + b"s."


@pickled("inspect", "a nested list beside the weights")
def _() -> bytes:
    return state(doubled(60))


@pickled("inspect", "a nested list as a dtype")
def _() -> bytes:
    return state(b"ctorch._utils\n_rebuild_tensor_v3\n(" + doubled(40) + b"NNNNNNtR")


@pickled("checkpoint", "modules that share one table of parameters")
def _() -> bytes:
    table = b"}(" + b"".join(text(f"p{i}") + b"K\x01" for i in range(1500)) + b"u"
    content = b"\x80\x02" + table + b"q\x010" + b"}q\x020"
    content += b"}(" + text("_parameters") + b"h\x01" + text("_modules") + b"h\x02uq\x030"
    modules = b"".join(text(f"m{i}") + b"cx\nM\n)Rh\x03b" for i in range(1500))
    content += b"cx\nM\n)R}(" + text("_parameters") + b"h\x01" + text("_modules")
    return content + b"}(" + modules + b"uub."


@pickled("checkpoint", "modules nested in each other by many names")
def _() -> bytes:
    content = b"\x80\x02"
    inner = b"cx\nM\n)R}(" + text("_parameters") + b"}" + text("_modules") + b"}uq\x000"
    content += inner.replace(b"uq", b"ubq")
    for level in range(40):
        content += b"cx\nM\n)R}(" + text("_parameters") + b"}" + text("_modules") + b"}("
        content += b"".join(text(f"m{i}") + b"h" + bytes([level]) for i in range(8))
        content += b"uubq" + bytes([level + 1]) + b"0"
    return content + b"h" + bytes([40]) + b"."


@pickled("checkpoint", "empty sets")
def _() -> bytes:
    return b"\x80\x04(" + b"\x8f" * 4_000_000 + b"l."


@pickled("checkpoint", "empty dictionaries and placeholders")
def _() -> bytes:
    return b"\x80\x04cx\nM\nq\x000(" + b"h\x00)R" * 1_000_000 + b"l."


@pickled("checkpoint", "arrays of NumPy that are never filled")
def _() -> bytes:
    return (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\nq\x000(NNNtq\x010("
        + b"h\x00h\x01R" * 800_000
        + b"l."
    )


@pickled("checkpoint", "integer keys that collide")
def _() -> bytes:
    keys = b"".join(b"\x8a\x20" + (i * HASH).to_bytes(32, "little") + b"N" for i in range(60_000))
    return b"\x80\x02}(" + keys + b"u."


@pickled("checkpoint", "short integer keys whose low bits agree")
def _() -> bytes:
    keys = b"".join(number(i << 40) + b"N" for i in range(1, 60_000))
    return b"\x80\x02}(" + keys + b"u."


@pickled("checkpoint", "keys of tuples whose hashes collide")
def _() -> bytes:
    keys = b"".join(
        b"\x8a\x10" + (i * HASH).to_bytes(16, "little") + b"\x85N" for i in range(60_000)
    )
    return b"\x80\x02}(" + keys + b"u."


@pickled("checkpoint", "a set of colliding integers, copied over and over")
def _() -> bytes:
    items = b"".join(b"\x8a\x10" + (i * HASH).to_bytes(16, "little") for i in range(4000))
    copies = b"cbuiltins\nfrozenset\n(h\x00tR" * 20_000
    return b"\x80\x04\x8f(" + items + b"\x90q\x000(" + copies + b"l."


@pickled("checkpoint", "attributes that are merged at each reference")
def _() -> bytes:
    attributes = b"(" + b"".join(text(f"a{i}") + b"N" for i in range(20_000))
    content = b"\x80\x02cargparse\nNamespace\n)R}" + attributes + b"u}" + attributes
    return state(content[2:] + b"u\x86bq\x050(" + b"h\x05" * 20_000 + b"l")


@pickled("checkpoint", "many objects that share two tables of attributes")
def _() -> bytes:
    attributes = b"(" + b"".join(text(f"a{i}") + b"N" for i in range(20_000))
    tables = b"}" + attributes + b"u}" + attributes + b"u\x86q\x000"
    objects = b"(" + b"cargparse\nNamespace\n)Rh\x00b" * 20_000 + b"l"
    return b"\x80\x02" + tables + objects + b"."


@pickled("checkpoint", "one name of a megabyte in many modules")
def _() -> bytes:
    long = text("n" * 1_000_000) + b"q\x000"
    content = b"\x80\x02" + long + b"cx\nM\n)R}(" + text("_parameters") + b"}" + text("_modules")
    content += b"}ubq\x010"
    for _level in range(60):
        content += b"cx\nM\n)R}(" + text("_parameters") + b"}" + text("_modules")
        content += b"}h\x00h\x01subq\x010"
    return content + b"h\x01."


@pickled("checkpoint", "a number of a million digits")
def _() -> bytes:
    return state(b"I" + b"9" * 1_000_000 + b"\n")


@pickled("checkpoint", "one tensor expanded many times")
def _() -> bytes:
    wide = tensor(shape=(1 << 12, 1 << 12), stride=(0, 0))
    return b"\x80\x02}(" + b"".join(text(f"w{i}") + wide for i in range(2000)) + b"u."


@hostile("checkpoint", "a pickle that is deflated a thousand times")
def _(folder: Path) -> Path:
    return torch_zip(folder, b"\x80\x02(" + b"N" * (200 << 20) + b"l.", method=8)


@hostile("checkpoint", "a pickle of a few megabytes that is deflated")
def _(folder: Path) -> Path:
    return torch_zip(folder, b"\x80\x02(" + b"N" * (15 << 20) + b"l.", method=8)


@hostile("checkpoint", "a deflated storage that is unpacked for each tensor")
def _(folder: Path) -> Path:
    side = 30 << 20
    parts = b"".join(
        text(f"w{i}") + tensor(shape=(1,), count=side // 4, key=str(i % 2)) for i in range(4000)
    )
    content = b"\x80\x02}(" + parts + b"u."
    return torch_zip(folder, content, {"0": bytes(side), "1": bytes(side)}, 8)


@hostile("checkpoint", "a zip archive of very many members")
def _(folder: Path) -> Path:
    path = folder / "hostile.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for index in range(60_000):
            archive.writestr(zipfile.ZipInfo(f"{index:0100}.npy"), b"")
    return path


def npz(folder: Path, headers: dict[str, bytes]) -> Path:
    path = folder / "hostile.npz"
    with zipfile.ZipFile(path, "w", 8) as archive:
        for name, header in headers.items():
            head = b"\x93NUMPY\1\0" + struct.pack("<H", len(header))
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), head + header)
    return path


@hostile("checkpoint", "slow headers in an .npz")
def _(folder: Path) -> Path:
    slow = b"{'descr': '<f4'" + b" ''" * 3200 + b", 'fortran_order': False, 'shape': (0,), }"
    return npz(folder, {str(i): slow for i in range(6000)})


@hostile("checkpoint", "headers in an .npz of nested brackets")
def _(folder: Path) -> Path:
    return npz(folder, {str(i): b"[" * 90 + b"]" * 90 + b"-" * 9000 for i in range(6000)})


@hostile("checkpoint", "an .npz whose descr is a hexadecimal integer")
def _(folder: Path) -> Path:
    header = b"{'descr': 0x" + b"f" * 9000 + b", 'fortran_order': False, 'shape': (3,), }"
    return npz(folder, {"w": header})


@hostile("reference", "a megabyte that unpacks to a gigabyte")
def _(folder: Path) -> Path:
    path = folder / "reference.npz"
    images = np.zeros((400, 224, 224, 3), np.float32)
    with zipfile.ZipFile(path, "w", 8) as archive, archive.open("images.npy", "w") as file:
        np.lib.format.write_array(file, images)
    return path


@hostile("reference", "names of a hundred gigabytes")
def _(folder: Path) -> Path:
    header = b"{'descr': '<U9999', 'fortran_order': False, 'shape': (999999999,), }"
    return npz(folder, {"names": header})


def safetensors(folder: Path, names: list[str], shape: tuple[int, ...] = (1,)) -> Path:
    path = folder / "hostile.safetensors"
    count = int(np.prod(shape))
    header = {
        name: {
            "dtype": "F32",
            "shape": list(shape),
            "data_offsets": [4 * count * i, 4 * count * (i + 1)],
        }
        for i, name in enumerate(names)
    }
    data = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(data)) + data + bytes(4 * count * len(names)))
    return path


def named(reader: str, title: str, names: Callable[[], list[str]], shape: Any = (1,)) -> None:
    @hostile(reader, title)
    def _(folder: Path) -> Path:
        return safetensors(folder, names(), shape)


BLOCK = "attn.qkv.weight"
GOLDENS = Path(__file__).parents[1] / "goldens/dialects"
Names = Callable[[str], list[str]]


def renamed(title: str, golden: str, change: Names) -> None:
    """Register a whole model in which names are changed: each to any number of names."""

    @hostile("checkpoint", title)
    def _(folder: Path) -> Path:
        from vit_convert.checkpoint import open_checkpoint, write_safetensors

        tensors = open_checkpoint(GOLDENS / golden).tensors
        made = {new: t.read() for name, t in tensors.items() for new in change(name)}
        write_safetensors(folder / "hostile.safetensors", made)
        return folder / "hostile.safetensors"


def block(number: Any) -> Names:
    """A second block 1, of another number."""
    return lambda name: [name, *([name.replace(".1.", f".{number}.")] * (".1." in name))]


TIMM, CHUNKS = "timm-vit/model.pth", "dinov2-chunked-vit/model.pth"
renamed("a block of the number 999999999", TIMM, block(999999999))
renamed("a block of the number 99999", TIMM, block(99999))
renamed("a block of 5,000 digits", TIMM, block("9" * 5000))
renamed("a block of 900 digits", TIMM, block("9" * 900))
renamed("a block of a superscript digit", TIMM, block("\u00b2"))
renamed("a block of an Arabic digit", TIMM, block("\u0663"))
renamed("a CaiT's block of many digits", "timm-cait/model.safetensors", block("9" * 900))
renamed("blocks in a chunk of ten digits", CHUNKS, lambda n: [n.replace(".1.1.", ".1.9999999999.")])
renamed("a chunk of ten digits", CHUNKS, lambda n: [n.replace("blocks.0.", "blocks.9999999999.")])
renamed(
    "very many blocks",
    TIMM,
    lambda n: [
        n,
        *(
            n.replace("blocks.1.", f"blocks.{i}.")
            for i in range(2, 3000)
            if n.startswith("blocks.1.")
        ),
    ],
)
renamed(
    "one marker behind many prefixes",
    TIMM,
    lambda n: [n, *(f"p{i}.{n}" for i in range(2000) if n.startswith("blocks.0.attn."))],
)
renamed(
    "many prefixes within each other",
    TIMM,
    lambda n: [n, *("a." * i + n for i in range(300) if n.startswith("blocks.0.attn."))],
)


def names(reader: str, title: str, made: Callable[[], list[str]]) -> None:
    """Register a file of tensors of these names."""
    hostile(reader, title)(lambda folder: safetensors(folder, made()))


names("checkpoint", "names of dots", lambda: ["." * 990 + str(i) for i in range(2000)])
names("checkpoint", "a name of a megabyte", lambda: ["w" * 1_000_000])
names("inspect", "escapes of the terminal", lambda: ["\x1b]0;owned\x07\x1b[2J", "\r\x9b31m"])


@hostile("checkpoint", "stacks of four million blocks")
def _(folder: Path) -> Path:
    from vit_convert.checkpoint import open_checkpoint

    parts = []
    for name, found in open_checkpoint(GOLDENS / "big_vision-scanned-vit/jax.npz").tensors.items():
        stacked = "encoderblock" in name
        shape = (1 << 22 if stacked else 1, *(1 for _ in found.shape[1:]))
        parts.append(text(name) + tensor(shape=shape, stride=(0,) * len(shape)))
    return torch_zip(folder, b"\x80\x02}(" + b"".join(parts) + b"u.")


@hostile("checkpoint", "a header of nested brackets")
def _(folder: Path) -> Path:
    path = folder / "hostile.safetensors"
    data = b'{"a":' + b"[" * 15_000_000
    path.write_bytes(struct.pack("<Q", len(data)) + data)
    return path


@hostile("checkpoint", "a header of empty lists")
def _(folder: Path) -> Path:
    path = folder / "hostile.safetensors"
    data = b'{"a":[' + b"[]," * 5_000_000 + b"[]]}"
    path.write_bytes(struct.pack("<Q", len(data)) + data)
    return path


@hostile("checkpoint", "an index of very many parts")
def _(folder: Path) -> Path:
    path = folder / "model.safetensors.index.json"
    path.write_text(json.dumps({"weight_map": {str(i): f"{i}.bin" for i in range(300_000)}}))
    return path


def pipes() -> None:
    for reader in ("checkpoint", "labels", "rules", "reference", "h5", "tflite", "inspect"):

        @hostile(reader, "a pipe")
        def _(folder: Path) -> Path:
            os.mkfifo(folder / "pipe")
            return folder / "pipe"

        @hostile(reader, "a device")
        def _(folder: Path) -> Path:
            (folder / "device").symlink_to("/dev/zero")
            return folder / "device"


pipes()


@hostile("sidecars", "a pipe")
def _(folder: Path) -> Path:
    os.mkfifo(folder / "config.json")
    return folder / "config.json"


@hostile("labels", "300 MB")
def _(folder: Path) -> Path:
    path = folder / "labels.txt"
    with path.open("wb") as file:
        file.truncate(300_000_000)
    return path


@hostile("labels", "half a character")
def _(folder: Path) -> Path:
    path = folder / "labels.json"
    path.write_text('["\\ud800", "b"]')
    return path


@hostile("labels", "a number of 5,000 digits")
def _(folder: Path) -> Path:
    path = folder / "labels.json"
    path.write_text('{"0": ' + "9" * 5000 + "}")
    return path


@hostile("labels", "nested brackets")
def _(folder: Path) -> Path:
    path = folder / "labels.json"
    path.write_text("[" * 1_000_000)
    return path


def config(folder: Path, **values: Any) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps({"model_type": "vit", **values}))
    return path


@hostile("sidecars", "half a character in id2label")
def _(folder: Path) -> Path:
    return config(folder, id2label={"0": "\ud800", "1": "b"})


@hostile("sidecars", "very many labels, none of them for index 0")
def _(folder: Path) -> Path:
    return config(folder, id2label={str(i): "x" for i in range(1, 500_000)})


@hostile("sidecars", "numbers that no model has")
def _(folder: Path) -> Path:
    return config(folder, num_hidden_layers=10**300, hidden_size=[1], image_size={"a": 1})


def toml(folder: Path, content: str) -> Path:
    path = folder / "rules.toml"
    path.write_text('name = "mine"\n' + content)
    return path


RENAME = '[rename]\n"a.{i}.w" = "blocks.{i}.attn.qkv.weight"\n'


@hostile("rules", "6,000 ignored patterns")
def _(folder: Path) -> Path:
    return toml(
        folder, RENAME + "[ignore]\n" + "".join(f'"x{i}.{{rest}}" = "y"\n' for i in range(6000))
    )


@hostile("rules", "300 ignored patterns with all placeholders")
def _(folder: Path) -> Path:
    lines = (f'"x{i}.{{i}}{{j}}{{chunk}}{{leaf}}{{rest}}" = "y"\n' for i in range(290))
    return toml(folder, RENAME + "[ignore]\n" + "".join(lines))


@hostile("rules", "a placeholder twice")
def _(folder: Path) -> Path:
    return toml(folder, RENAME + '[ignore]\n"x.{rest}.{rest}" = "y"\n')


@hostile("rules", "a number of 5,000 digits")
def _(folder: Path) -> Path:
    return toml(folder, RENAME + f"[values]\nnum_heads = {'9' * 5000}\n")


@hostile("rules", "a hexadecimal number of 5,000 digits")
def _(folder: Path) -> Path:
    return toml(folder, RENAME + f"[values]\nnorm_eps = 0x{'f' * 5000}\n")


@hostile("rules", "a transform that is a list")
def _(folder: Path) -> Path:
    return toml(folder, '[[rule]]\nfrom = "a"\nto = "b"\ntransform = [1]\n')


@hostile("rules", "nested brackets")
def _(folder: Path) -> Path:
    return toml(folder, "x = " + "[" * 150_000)


@hostile("rules", "a key of 50,000 parts")
def _(folder: Path) -> Path:
    return toml(folder, ".".join("a" * 50_000) + " = 1\n")


@hostile("h5", "a dataset that lies in another file")
def _(folder: Path) -> Path:
    with h5py.File(folder / "hostile.h5", "w") as file:
        external = [("/etc/passwd", 0, h5py.h5f.UNLIMITED)]
        file.create_dataset("model_weights/a", (8,), "u1", external=external)
    return folder / "hostile.h5"


@hostile("h5", "a link to another file")
def _(folder: Path) -> Path:
    with h5py.File(folder / "hostile.h5", "w") as file:
        file["model_weights"] = h5py.ExternalLink("/etc/passwd", "/")
    return folder / "hostile.h5"


@hostile("h5", "a soft link")
def _(folder: Path) -> Path:
    with h5py.File(folder / "hostile.h5", "w") as file:
        file["model_weights"] = h5py.SoftLink("/elsewhere")
    return folder / "hostile.h5"


@hostile("h5", "an array of parts of other files")
def _(folder: Path) -> Path:
    layout = h5py.VirtualLayout((8,), "u1")
    layout[:] = h5py.VirtualSource("/etc/passwd", "a", (8,))
    with h5py.File(folder / "hostile.h5", "w") as file:
        file.create_virtual_dataset("model_weights/a", layout)
    return folder / "hostile.h5"


@hostile("h5", "a group that contains itself")
def _(folder: Path) -> Path:
    with h5py.File(folder / "hostile.h5", "w") as file:
        file.create_group("a")["b"] = file["/"]
    return folder / "hostile.h5"


@hostile("h5", "very many groups")
def _(folder: Path) -> Path:
    with h5py.File(folder / "hostile.h5", "w", libver="latest") as file:
        for index in range(21_000):
            file.create_group(str(index))
    return folder / "hostile.h5"


@hostile("h5", "an array that was never written")
def _(folder: Path) -> Path:
    with h5py.File(folder / "hostile.h5", "w") as file:
        file.create_dataset("a", (1 << 40,), "f8", chunks=(1 << 20,))
    return folder / "hostile.h5"


def model_config(folder: Path, content: str | bytes) -> Path:
    with h5py.File(folder / "hostile.h5", "w", libver="latest") as file:
        file.attrs["model_config"] = content
    return folder / "hostile.h5"


def odd_specs() -> None:
    """Specifications as .h5 files and artifacts have them, with one value changed."""
    from vit_convert.architectures import ModelSpec, ViTConfig
    from vit_convert.exporters.metadata import Metadata
    from vit_convert.exporters.options import ExportOptions

    tiny = ViTConfig(
        image_size=(4, 6),
        patch_size=(2, 3),
        num_classes=5,
        embed_dim=8,
        depth=1,
        num_heads=2,
        mlp_dim=7,
    )
    metadata = Metadata(
        "tflite", ModelSpec("vit", tiny), ExportOptions(), "normalised", ("logits",)
    )
    values: list[Any] = [10**9, 10**300, -1, 0, 1.5, "x", None, [], {}, [[1]], True, "\ud800"]
    places = [
        ("config", key)
        for key in ("depth", "num_classes", "embed_dim", "num_heads", "image_size", "gelu", "pool")
    ] + [("config", "parallel"), ("config", "reg_tokens"), ("config", "norm_eps")]
    places += [("source", "dtypes"), ("source", "fills"), ("source", "provenance")]
    places += [("preprocessing", "mean"), ("", "labels"), ("", "architecture"), ("", "format")]
    for part, key in places:
        for index, value in enumerate(values):
            changed = json.loads(metadata.to_json())
            owner = changed["spec"][part] if part else changed["spec"]
            owner[key] = value
            add_spec(f"{key} {index} ({str(value)[:9]!a})", changed)
    deep = "[" * 100_000
    for reader, make in (("h5", model_config), ("saved_model", saved_model)):
        HOSTILE[f"{reader}: nested brackets"] = (
            reader,
            lambda folder, make=make: make(folder, deep),
        )


def add_spec(name: str, changed: dict[str, Any]) -> None:
    as_h5 = json.dumps({"config": {"spec": changed["spec"]}})
    HOSTILE[f"h5: {name}"] = ("h5", lambda folder: model_config(folder, as_h5))
    HOSTILE[f"saved_model: {name}"] = (
        "saved_model",
        lambda folder: saved_model(folder, json.dumps(changed)),
    )


def saved_model(folder: Path, content: str) -> Path:
    path = folder / "assets.extra" / "vit_convert.json"
    path.parent.mkdir()
    path.write_text(content)
    (folder / "saved_model.pb").write_bytes(b"")
    return folder / "saved_model.pb"


odd_specs()


def hdf5() -> io.BytesIO:
    """An HDF5 file of a few groups and arrays, for changes of a byte."""
    file = io.BytesIO()
    with h5py.File(file, "w") as made:
        made.attrs["model_config"] = b"{}"
        for layer in ("a", "b", "c"):
            made.create_dataset(f"model_weights/{layer}/kernel:0", data=np.arange(6.0))
    return file
