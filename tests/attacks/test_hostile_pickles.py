"""No pickle executes, imports or allocates anything: it gives placeholders or a CheckpointError."""

import builtins
import copyreg
import importlib
import io
import os
import pickle
import re
import struct
import subprocess
import sys

import numpy as np
import pytest
import torch
from builders import number, state, tensor, text

from vit_convert.checkpoint import open_checkpoint
from vit_convert.checkpoint.inert import Global, Inert
from vit_convert.checkpoint.pickle_stacks import no_persistent
from vit_convert.checkpoint.strided import Storage
from vit_convert.checkpoint.unpickler import load_pickle
from vit_convert.errors import CheckpointError

DATA = {"0": np.arange(3, dtype="<f4").tobytes()}


def loaded(content: bytes, persistent=no_persistent):
    return load_pickle(io.BytesIO(content), len(content), "x", persistent)


class Call:
    """Pickles as a call of anything."""

    def __init__(self, function, *args):
        self.reduced = function, args

    def __reduce__(self):
        return self.reduced


def attacks(canary) -> dict[str, bytes]:
    touch = f"open({str(canary)!r}, 'w')"
    shell = f"touch {canary}"
    return {
        "os.system": pickle.dumps(Call(os.system, shell)),
        "posix.system by name": b"cposix\nsystem\n" + b"(" + text(shell) + b"tR.",
        "eval": pickle.dumps(Call(eval, touch)),
        "exec": pickle.dumps(Call(exec, touch)),
        "open": pickle.dumps(Call(open, str(canary), "w")),
        "subprocess": pickle.dumps(Call(subprocess.Popen, ["touch", str(canary)])),
        "importlib": b"cimportlib\nimport_module\n(" + text("hostile") + b"tR.",
        "__import__": b"c__builtin__\n__import__\n(" + text("hostile") + b"tR.",
        "a module of the file's choice": b"chostile.package\nanything\n.",
        "getattr": b"cbuiltins\ngetattr\n(cos\nos\n"
        + text("system")
        + b"tR("
        + text(shell)
        + b"tR.",
        "dotted stack global": b"\x80\x04"
        + (text("os") + text("path.os.system") + b"\x93(" + text(shell) + b"tR."),
        "stack global into an allowed module": b"\x80\x04"
        + (
            text("collections")
            + text("abc.sys.modules.__getitem__")
            + b"\x93("
            + text("os")
            + b"tR."
        ),
        "INST": b"(" + text(shell) + b"ios\nsystem\n.",
        "OBJ": b"(cos\nsystem\n" + text(shell) + b"o.",
        "NEWOBJ": b"\x80\x02csubprocess\nPopen\n(" + text(shell) + b"t\x81.",
        "NEWOBJ_EX": b"\x80\x04csubprocess\nPopen\n)}" + (text("args") + text(shell) + b"s\x92."),
        "REDUCE of the result": b"cfunctools\npartial\n(cos\nsystem\n" + text(shell) + b"tR)R.",
        "operator.attrgetter": b"coperator\nattrgetter\n("
        + (text("system") + b"tR(cposix\n__dict__\ntR(" + text(shell) + b"tR."),
        "BUILD with __setstate__": b"cos\nsystem\n)R}" + text("__setstate__") + b"cos\nsystem\nsb.",
        "BUILD on an allowed function": b"ctorch._utils\n_rebuild_tensor_v2\nN}"
        + (text("__code__") + b"cos\nsystem\ns\x86b."),
        "BUILD with slots": b"chostile\nThing\n)R(N}" + text("a") + b"I1\nstb.",
        "nested pickle": pickle.dumps(Call(pickle.loads, pickle.dumps(Call(os.system, shell)))),
        "torch.storage._load_from_bytes": b"ctorch.storage\n_load_from_bytes\n("
        + text("x")
        + b"tR.",
        "torch.load": b"ctorch\nload\n(" + text("hostile.pth") + b"tR.",
        "numpy.load": b"cnumpy\nload\n(" + text("hostile.npy") + b"tR.",
        "runpy": b"crunpy\nrun_path\n(" + text("hostile.py") + b"tR.",
        "webbrowser": b"cwebbrowser\nopen\n(" + text("http://localhost") + b"tR.",
        "a tensor's subclass": b"ctorch._tensor\n_rebuild_from_type_v2\n(cos\nsystem\nN("
        + (text(shell) + b"tNtR."),
        "defaultdict with a factory": b"ccollections\ndefaultdict\n(cos\nsystem\ntR.",
        "a NumPy array's class": b"cnumpy.core.multiarray\n_reconstruct\n(cos\nsystem\nNtR.",
        "copyreg": b"ccopyreg\n_reconstructor\n(cos\nsystem\nc__builtin__\nobject\nNtR.",
        "APPENDS on a placeholder": b"chostile\nList\n)R(" + text("x") + b"e.",
        "SETITEMS on a placeholder": b"chostile\nDict\n)R(" + text("x") + b"I1\nu.",
    }


@pytest.fixture
def attack(tmp_path, monkeypatch, request):
    """One attack, with every door watched that it tries."""
    canary = tmp_path / "canary"
    content = attacks(canary)[request.param]
    real_import = builtins.__import__
    imported: list[str] = []

    def watch(name, *args, **kwargs):
        imported.append(name)
        return real_import(name, *args, **kwargs)

    for home, name in [
        (os, "system"),
        (os, "popen"),
        (subprocess, "Popen"),
        (importlib, "import_module"),
        (pickle, "loads"),
        (torch, "load"),
        (np, "load"),
    ]:
        monkeypatch.setattr(home, name, lambda *_, name=name: pytest.fail(f"{name} was called"))
    monkeypatch.setattr(builtins, "__import__", watch)
    yield content
    monkeypatch.undo()
    assert not canary.exists()
    assert not [name for name in imported if name.startswith(("hostile", "webbrowser", "runpy"))]


each_attack = pytest.mark.parametrize("attack", attacks(""), indirect=True)


@pytest.mark.parametrize("name", ["os.system", "open", "eval", "nested pickle", "INST"])
def test_the_attacks_are_real(name, tmp_path):
    content = attacks(tmp_path / "canary")[name]
    subprocess.run([sys.executable, "-c", f"import pickle; pickle.loads({content!r})"], check=True)
    assert (tmp_path / "canary").exists()


@each_attack
def test_nothing_is_executed(attack):
    made = loaded(attack)
    assert isinstance(made, Inert | Global | dict) or type(made).__name__ == "NumpyArray"


@each_attack
def test_the_weights_beside_an_attack_are_read(attack, torch_zip):
    body = re.sub(rb"^\x80.(\x95.{8})?", b"", attack, flags=re.DOTALL).removesuffix(b".")
    checkpoint = open_checkpoint(torch_zip(state(body), DATA))
    assert checkpoint.tensors["w"].read().tolist() == [0, 1, 2]
    assert list(checkpoint.extras) == ["0"]


@each_attack
def test_attacks_in_the_legacy_format(attack, tmp_path):
    head = b"".join(pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, {}))
    path = tmp_path / "x"
    path.write_bytes(head + attack + pickle.dumps([], 2))
    with pytest.raises(CheckpointError, match="no weights"):
        open_checkpoint(path)
    path.write_bytes(attack + head)
    with pytest.raises(CheckpointError):
        open_checkpoint(path)


def test_extension_codes_are_not_looked_up(monkeypatch):
    copyreg.add_extension("os", "system", 77)
    try:
        for opcode in (b"\x82\x4d", b"\x83\x4d\x00", b"\x84\x4d\x00\x00\x00"):
            made = loaded(b"\x80\x02" + opcode + b"(" + text("true") + b"tR.")
            assert made.type_name == "copyreg.extension 77"
    finally:
        copyreg.remove_extension("os", "system", 77)


def test_placeholders_record_what_was_asked():
    made = loaded(
        b"\x80\x04chostile\nThing\n(I1\n" + text("two") + b"t}" + text("k") + b"I3\ns\x92"
        b"}" + text("a") + b"I4\nsb(" + text("i") + b"I5\nu(I6\nI7\ne."
    )
    assert (made.of, made.type_name) == (Global("hostile", "Thing"), "hostile.Thing")
    assert (made.args, made.kwargs) == ((1, "two"), {"k": 3})
    assert (made.state, made.entries, made.elements) == ({"a": 4}, {"i": 5}, [6, 7])
    assert repr(made) == "<inert hostile.Thing>"


def test_names_of_placeholders_can_be_shown():
    made = loaded(b"\x80\x04" + text("a\x1b[2J") + text("b" * 1000) + b"\x93.")
    assert made.qualified.isprintable()
    assert len(made.qualified) < 200


def test_the_allow_list_holds_no_code_of_others():
    from vit_convert.checkpoint.constructs import CONSTRUCTS, KEYED

    homes = {make.__module__ for make in (*CONSTRUCTS.values(), *KEYED.values())}
    assert all(home.startswith("vit_convert.checkpoint.") for home in homes)


IMPOSSIBLE = {
    "a storage of 2**60 elements": tensor(count=2**60),
    "a shape of 2**60": tensor(shape=(2**60,)),
    "a shape that overflows": tensor(shape=(2**40, 2**40), stride=(0, 0)),
    "an expansion of one element": tensor(shape=(2**31, 2**10), stride=(0, 0)),
    "a stride beyond the end": tensor(shape=(2,), stride=(3,)),
    "a stride of 2**61": tensor(shape=(3,), stride=(2**61,)),
    "an offset beyond the end": tensor(shape=(1,), offset=3),
    "a negative offset": tensor(offset=-1),
    "a negative stride": tensor(stride=(-1,)),
    "a negative shape": tensor(shape=(-1,)),
    "a negative count": tensor(count=-3),
    "an endless rank": tensor(shape=(1,) * 200, stride=(1,) * 200),
    "more strides than sides": tensor(stride=(1, 1)),
    "a huge empty tensor": tensor(shape=(2**61, 0), stride=(1, 1)),
    "an unknown storage": tensor(kind="EvilStorage"),
    "a path as a key": tensor(key="../../../../etc/passwd"),
    "an absolute path as a key": tensor(key="/etc/passwd"),
    "a key with a zero": tensor(key="0\0"),
    "another storage's size": tensor(count=2, shape=(2,)),
}


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_impossible_tensors(case, torch_zip):
    with pytest.raises(CheckpointError):
        open_checkpoint(torch_zip(state(IMPOSSIBLE[case]), DATA))


BOMBS = {
    "a memo index of 2**32": b"\x80\x02Nr\xff\xff\xff\xff0j\xff\xff\xff\x7f.",
    "bytes of 2**62": b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"x.",
    "a bytearray of 2**62": b"\x80\x05\x96" + struct.pack("<Q", 2**62) + b"x.",
    "text of 2**62": b"\x80\x04\x8d" + struct.pack("<Q", 2**62) + b"x.",
    "a frame of 2**62": b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b"K",
    "a long of 2**31": b"\x80\x02\x8b\xff\xff\xff\x7fx.",
    "a number of many digits": b"I" + b"9" * 100_000 + b"\n.",
    "deep tuples as a key": b"\x80\x02}" + b")" + b"\x85" * 200_000 + b"Ns.",
    "wide tuples as a key": b"\x80\x02}(" + b"N" * 100 + b"tNs.",
    "a number of many bits as a key": b"\x80\x02}\x8b"
    + struct.pack("<i", 99)
    + b"\x01" * 99
    + b"Ns.",
    "a list as a key": b"\x80\x02}]Ns.",
    "a placeholder's list in a set": b"\x80\x04\x8f(]\x90.",
    "one list copied over and over": b"\x80\x02("
    + b"K\x01" * 50_000
    + b"lq\x000"
    + b"("
    + b"cbuiltins\nlist\n(h\x00tR" * 5_000
    + b"l.",
    "one array built over and over": b"\x80\x02"
    + (b"cnumpy\ndtype\n(" + text("u1") + b"I0\nI1\ntRq\x010")
    + (b"\x8e" + struct.pack("<Q", 1 << 16) + bytes(1 << 16) + b"q\x000(")
    + b"cnumpy.core.multiarray\n_reconstruct\n(NNNtR(I1\n(J\x00\x00\x01\x00th\x01\x89h\x00tb"
    * 5_000
    + b"l.",
    "an empty stack": b"\x80\x020.",
    "no mark": b"\x80\x02t.",
    "no memo": b"\x80\x02h\x05.",
    "an unknown opcode": b"\xff.",
    "no end": b"\x80\x02N",
    "nothing": b"",
    "an out-of-band buffer": b"\x80\x05\x97.",
    "items for a number": b"\x80\x02K\x01(NNu.",
    "an odd number of items": b"\x80\x02}(NNNu.",
    "arguments that are no tuple": b"\x80\x02cos\nsystem\n]R.",
    "named arguments that are no dict": b"\x80\x04cos\nsystem\n)]\x92.",
    "a name that is no text": b"\x80\x04K\x01K\x02\x93.",
    "a persistent id": b"\x80\x02NQ.",
    "a bad escape": b"S'\\xzz'\n.",
    "text that is no utf-8": b"\x80\x02X\x01\x00\x00\x00\xff.",
}


@pytest.mark.parametrize("case", BOMBS)
def test_bombs_and_nonsense(case):
    with pytest.raises(CheckpointError):
        loaded(BOMBS[case])


@pytest.mark.parametrize(
    "layer",
    [b"\x85", b"]", b"}", b"chostile\nThing\n"],
    ids=["tuples", "lists", "dicts", "placeholders"],
)
def test_deep_nesting_is_read_shown_and_freed(torch_zip, layer):
    depth = 20_000 if b"Thing" in layer else 100_000  # far more than Python's stack is deep
    if layer == b"\x85":
        nested = b")" + b"\x85" * depth
    elif layer == b"]":
        nested = b"]" * depth + b"a" * (depth - 1)
    elif layer == b"}":
        nested = (b"}" + text("k")) * depth + b"N" + b"s" * depth
    else:
        nested = b")" + b"q\x000chostile\nThing\nh\x00R\x85" * depth
    checkpoint = open_checkpoint(torch_zip(state(nested), DATA))
    assert len(repr(checkpoint.extras)) < 10_000
    assert checkpoint.tensors["w"].read().tolist() == [0, 1, 2]


def test_a_billion_laughs_are_not_laughed(torch_zip):
    doubled = b"".join(b"(h%ch%cl" % (i, i) + b"q%c0" % (i + 1) for i in range(60))
    content = b"]q\x000" + doubled + b"h" + bytes([60])
    checkpoint = open_checkpoint(torch_zip(state(content), DATA))
    assert checkpoint.tensors["w"].shape == (3,)


def test_a_dictionary_with_many_names_is_searched_once(torch_zip):
    inner = b"}(" + b"".join(text(f"k{i}") + b"N" for i in range(3000)) + b"uq\x050"
    middle = b"}(" + b"".join(text(f"m{i}") + b"h\x05" for i in range(3000)) + b"uq\x060"
    outer = b"".join(text(f"o{i}") + b"h\x06" for i in range(3000))
    content = b"\x80\x02" + inner + middle + b"}(" + outer + text("model") + b"}" + text("w")
    checkpoint = open_checkpoint(torch_zip(content + tensor() + b"su.", DATA))
    assert checkpoint.candidates == ("model",)


def test_more_state_dicts_than_any_checkpoint_has(torch_zip):
    inner = b"}" + text("w") + tensor() + b"sq\x050"
    content = b"\x80\x02" + inner + b"}("
    content += b"".join(text(f"o{i}") + b"h\x05" for i in range(3000)) + b"u."
    with pytest.raises(CheckpointError, match="state_dicts"):
        open_checkpoint(torch_zip(content, DATA))


def test_modules_that_contain_themselves(torch_zip):
    module = b"chostile\nModule\n)Rq\x05}(" + text("_parameters") + b"}" + text("_buffers") + b"}"
    module += text("_modules") + b"}" + text("self") + b"h\x05sub"
    with pytest.raises(CheckpointError, match="without end"):
        open_checkpoint(torch_zip(b"\x80\x02" + module + b".", DATA))


def test_cycles_in_what_stands_beside(torch_zip):
    cycle = b"]q\x05h\x05a"
    assert open_checkpoint(torch_zip(state(cycle), DATA)).candidates == ("model",)


def test_huge_numbers_are_shown_in_no_message(torch_zip):
    huge = b"\x8b" + struct.pack("<i", 4000) + b"\x7f" * 4000
    geometry = tensor().replace(number(3) + b"tQ", huge + b"tQ")
    with pytest.raises(CheckpointError, match="storage"):
        open_checkpoint(torch_zip(state(geometry), DATA))


def test_a_storage_is_no_value():
    made = loaded(b"\x80\x02(NtQ.", lambda _: Storage("float32", 4, np.empty))
    assert isinstance(made, Storage)
    assert "hostile" not in sys.modules
