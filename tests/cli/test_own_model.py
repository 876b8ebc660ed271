"""`verify --model` and `record`: the user's own model is the judge, and names what was assumed
wrongly. The model is plain PyTorch, in a module of the user's folder."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import Command
from PIL import Image

from vit_convert.architectures import Overrides
from vit_convert.conversion.files import torch2keras
from vit_convert.exporters import ExportOptions, export
from vit_convert.parity.recorded import read_reference

CODE = """
import torch
from torch import nn
from torch.nn import functional as F

ACTIVATIONS = {
    "erf": F.gelu,
    "tanh": lambda x: F.gelu(x, approximate="tanh"),
    "quick": lambda x: x * torch.sigmoid(1.702 * x),
    "relu": F.relu,
}


class Layer(nn.Module):
    def __init__(self, heads, act, eps):
        super().__init__()
        self.heads, self.act = heads, ACTIVATIONS[act]
        self.norm1, self.norm2 = nn.LayerNorm(128, eps=eps), nn.LayerNorm(128, eps=eps)
        self.attn = nn.ModuleDict({"qkv": nn.Linear(128, 384), "proj": nn.Linear(128, 128)})
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(128, 63), "fc2": nn.Linear(63, 128)})

    def forward(self, x):
        n, t, d = x.shape
        qkv = self.attn["qkv"](self.norm1(x)).view(n, t, 3, self.heads, d // self.heads)
        mixed = F.scaled_dot_product_attention(*qkv.permute(2, 0, 3, 1, 4))
        x = x + self.attn["proj"](mixed.transpose(1, 2).reshape(n, t, d))
        return x + self.mlp["fc2"](self.act(self.mlp["fc1"](self.norm2(x))))


class Net(nn.Module):
    def __init__(self, heads=2, act="erf", eps=1e-6, pool="token", give="logits", layers=Layer):
        super().__init__()
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, 128, (8, 10), (8, 10))})
        self.cls_token = nn.Parameter(torch.zeros(1, 1, 128))
        self.pos_embed = nn.Parameter(torch.zeros(1, 16, 128))
        self.blocks = nn.ModuleList([layers(heads, act, eps) for _ in range(3)])
        self.norm, self.head = nn.LayerNorm(128, eps=eps), nn.Linear(128, 7)
        self.pool, self.give = pool, give

    def forward(self, images):
        assert images.shape[2:] == (24, 50), f"images of {tuple(images.shape)}"
        x = self.patch_embed["proj"](images).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        pooled = {"token": x[:, 0], "avg": x[:, 1:].mean(1), "all": x.mean(1)}[self.pool]
        logits = self.head(pooled)
        return {"logits": logits, "tuple": (logits, x), "dict": {"x": pooled, "logits": logits},
                "tokens": x, "random": F.dropout(logits, 0.5)}[self.give]


class Loose(Layer):
    def forward(self, x):
        return [super().forward(x).transpose(0, 1)]  # no tokens that anybody could know


class Wrapped(nn.Module):
    def __init__(self):
        super().__init__()
        self.model = Net()

    def forward(self, x):
        return self.model(x)


right = Net
wrapped = Wrapped
heads = lambda: Net(heads=8)
odd_heads = lambda: Net(heads=16)
tanh = lambda: Net(act="tanh")
quick = lambda: Net(act="quick")
eps = lambda: Net(eps=1e-5)
large_eps = lambda: Net(eps=1e-3)
average = lambda: Net(pool="avg")
average_of_all = lambda: Net(pool="all")
heads_and_gelu = lambda: Net(heads=8, act="tanh")
eps_and_pool = lambda: Net(eps=1e-5, pool="avg")
unknown = lambda: Net(act="relu", heads=8, eps=0.05)
in_a_tuple = lambda: Net(give="tuple")
in_a_dict = lambda: Net(give="dict")
tokens = lambda: Net(give="tokens")
random = lambda: Net(give="random")
in_half = lambda: Net().half().train()


def of_several(classes, width=128):
    return Net()


def failing():
    raise ValueError("no weights here\\nnor there")


def exits():
    raise SystemExit(3)


def nothing():
    pass


def smaller():
    net = Net()
    del net.blocks[2]
    return net


def with_more():
    net = Net()
    net.extra = nn.Linear(3, 2)
    return net


def other_classes():
    net = Net()
    net.head = nn.Linear(128, 9)
    return net


instance = Net()
number = 7
"""
WRONG = {
    "heads": "--num-heads 8",
    "odd_heads": "--num-heads 16",
    "tanh": "--gelu tanh",
    "quick": "--gelu quick",
    "eps": "--norm-eps 1e-05",
    "large_eps": "--norm-eps 0.001",
    "average": "--pool avg",
    "average_of_all": "--pool avg --pool-prefix",
    "heads_and_gelu": "--num-heads 8 --gelu tanh",
    "eps_and_pool": "--pool avg --norm-eps 1e-05",
}
MODULE = "judge_of_the_tests"


@dataclass(frozen=True)
class Project:
    """A user's folder: judge_of_the_tests.py, vit.pth, vit.h5, vit_float32.tflite, pictures/."""

    folder: Path

    def model(self, name: str) -> tuple[str, str]:
        return "--model", f"{MODULE}:{name}"

    @property
    def source(self) -> tuple[str, Path]:
        return "--source", self.folder / "vit.pth"


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine gets all the time that it needs."""
    monkeypatch.setattr("vit_convert.parity.search.SECONDS", 250.0)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    folder = tmp_path_factory.mktemp("own")
    (folder / f"{MODULE}.py").write_text(CODE)
    sys.path.insert(0, str(folder))
    module = __import__(MODULE)
    generator = torch.Generator().manual_seed(5)
    net = module.Net()
    with torch.no_grad():
        for name, value in net.named_parameters():
            spread = 0.05 if "embed" in name or "token" in name else 1.3 * value[0].numel() ** -0.5
            spread = 0.3 if value.ndim == 1 else spread
            value.copy_(spread * torch.randn(value.shape, generator=generator))
            value.add_(1.0 if "norm" in name and name.endswith("weight") else 0.0)
    torch.save(
        {"model": {f"module.{k}": v for k, v in net.state_dict().items()}}, folder / "vit.pth"
    )
    size = Overrides(image_size=(24, 50), mean=(0.48, 0.45, 0.41), std=(0.23, 0.22, 0.27))
    conversion = torch2keras(folder / "vit.pth", folder / "vit.h5", overrides=size)
    known = conversion.spec.source.provenance
    assert {known[n] for n in ("num_heads", "gelu", "norm_eps", "pool")} == {"assumed"}
    assert conversion.spec.config.num_heads == 2
    export(folder / "vit.h5", ["tflite"], folder)
    rng = np.random.default_rng(0)
    for i in range(20):
        home = folder / "pictures" / "ab"[i % 2]
        home.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (30, 60, 3), np.uint8)).save(home / f"{i}.png")
    yield Project(folder)
    sys.path.remove(str(folder))
    del sys.modules[MODULE]


def test_the_right_model_is_equal(command: Command, own: Project) -> None:
    for name in ("right", "wrapped", "in_half", "in_a_tuple", "in_a_dict"):
        done = command("verify", own.folder / "vit.h5", *own.source, *own.model(name), "--json")
        assert done.code == 0, done.out + done.err
        found = json.loads(done.out)
        assert found["verdict"] == {"word": "equal", "text": "equal"}
        assert found["comparison"]["relative"] < 2e-6
        assert (found["search"], found["assumed"]) == (None, [])
        assert f"{MODULE}:{name} (" in found["reference"]
        taken = {"in_a_tuple": "output 0 taken", "in_a_dict": "logits taken"}.get(name)
        assert taken is None or taken in found["reference"]


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("artifact", ["vit.h5", "vit_float32.tflite"])
def test_what_was_assumed_wrongly_is_named(
    command: Command, own: Project, name: str, artifact: str
) -> None:
    done = command("verify", own.folder / artifact, *own.source, *own.model(name), "--json")
    assert done.code == 1, done.out + done.err
    found = json.loads(done.out)
    assert (found["passed"], found["verdict"]["word"]) == (False, "differs")
    assert sorted(found["search"]["options"]) == sorted(options_of(WRONG[name]))
    assert found["search"]["relative"] < 1e-5
    block = found["first_difference"]
    if name.startswith("average"):
        assert block is None
        assert found["where"].startswith("after the last block")
    else:
        assert block["name"] == "blocks.0"


def options_of(line: str) -> list[str]:
    return [f"--{option}".strip() for option in line.split("--")[1:]]


@pytest.mark.parametrize("name", WRONG)
def test_recorded_logits_name_it_too(command: Command, own: Project, name: str) -> None:
    done = command("record", *own.model(name), *own.source, "--image-size", "24x50", "-o", "r.npz")
    assert done.code == 0, done.err
    done = command("verify", own.folder / "vit.h5", "--reference", "r.npz")
    assert done.code == 1, done.err
    (line,) = [line for line in done.out.splitlines() if line.startswith("with --")]
    said = line.partition(" the logits are equal (relative difference ")[0].removeprefix("with ")
    assert sorted(options_of(said)) == sorted(options_of(WRONG[name]))
    assert "convert again with that" in line


def test_converting_again_with_what_was_named_makes_it_equal(
    command: Command, own: Project
) -> None:
    options = ("--num-heads", "8", "--gelu", "tanh")
    size = ("--image-size", "24x50")
    assert (
        command("torch2keras", own.folder / "vit.pth", *size, *options, "-o", "again.h5").code == 0
    )
    done = command("verify", "again.h5", *own.source, *own.model("heads_and_gelu"))
    assert done.code == 0, done.out


def test_what_no_option_can_mend_is_said(command: Command, own: Project) -> None:
    done = command("verify", own.folder / "vit.h5", *own.source, *own.model("unknown"), "--json")
    assert done.code == 1
    found = json.loads(done.out)["search"]
    assert found["options"] == []
    assert found["text"].startswith("no assumed value is to blame alone, nor are two of them: ")
    assert {"num_heads", "gelu", "norm_eps", "pool"} <= set(found["fields"])
    assert found["tried"] > 50


def test_a_given_value_can_be_wrong_too(command: Command, own: Project) -> None:
    size = ("--image-size", "24x50", "--num-heads", "4")
    assert command("torch2keras", own.folder / "vit.pth", *size, "-o", "given.h5").code == 0
    done = command("verify", "given.h5", *own.source, *own.model("heads"))
    assert done.code == 1
    assert "with --num-heads 8 the logits are equal" in done.out


def test_where_the_artifact_alone_is_wrong_no_value_is_blamed(
    command: Command, own: Project
) -> None:
    command("record", *own.model("right"), *own.source, "--image-size", "24x50", "-o", "r.npz")
    arguments = ("verify", own.folder / "vit.h5", "--reference", "r.npz")
    assert command(*arguments).code == 0
    done = command(*arguments, "--tolerance", "1e-12")
    assert done.code == 1
    assert "no value of the configuration is to blame" in done.out


def test_a_tflite_file_and_a_recording_lack_the_weights_to_try_others(
    command: Command, own: Project
) -> None:
    command("record", *own.model("heads"), *own.source, "--image-size", "24x50", "-o", "r.npz")
    done = command("verify", own.folder / "vit_float32.tflite", "--reference", "r.npz")
    assert done.code == 1
    assert "verify the .h5 that it was exported from" in done.out


def test_an_int8_file_made_of_another_gelu_is_found_out(command: Command, own: Project) -> None:
    """By the noise that is recorded, which is what the file's float32 was run on."""
    options = ExportOptions(precision="int8-dynamic")
    (path,) = export(own.folder / "vit.h5", ["tflite"], Path(), options)
    size = ("--image-size", "24x50", "--mean", "0.48,0.45,0.41", "--std", "0.23,0.22,0.27")
    command("record", *own.model("tanh"), *own.source, *size, "-o", "r.npz")
    for reference in ((*own.source, *own.model("tanh")), ("--reference", "r.npz")):
        done = command("verify", path, *reference, "--json")
        assert done.code == 1
        found = json.loads(done.out)
        assert found["comparison"]["passed"], "nothing hides below rounding here"
        assert not found["made_of"]["passed"]
        assert found["verdict"]["word"] == "differs"
        if "--model" in reference:
            assert found["search"]["options"] == ["--gelu tanh"]


def test_pictures_are_compared_too(command: Command, own: Project) -> None:
    pictures = ("--images", own.folder / "pictures")
    arguments = ("verify", own.folder / "vit_float32.tflite", *own.source, *pictures)
    done = command(*arguments, *own.model("right"), "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["num_images"] == 20
    assert command(*arguments, *own.model("heads")).code == 1


ERRORS = {
    "no_such": "there is no no_such in",
    "of_several": "needs arguments: classes",
    "failing": "failed: ValueError: no weights here",
    "exits": "failed: SystemExit: 3",
    "nothing": "gave None, no model",
    "instance": "is a Net, and cannot be called for a model",
    "number": "is a int, and cannot be called for a model",
    "smaller": "blocks.2.norm1.weight  ",
    "with_more": "extra.weight  missing, expected (2, 3)",
    "other_classes": "head.weight  has shape (7, 128), expected (9, 128)",
    "tokens": "gives a tensor (1, 16, 128) for 1 images",
    "random": "gives other values for the same image each time",
}


@pytest.mark.parametrize("name", ERRORS)
def test_what_is_wrong_with_a_model_is_said(command: Command, own: Project, name: str) -> None:
    done = command("verify", own.folder / "vit.h5", *own.source, *own.model(name))
    assert (done.code, done.out) == (2, ""), done.out
    assert ERRORS[name] in " ".join(done.err.replace("\n", " | ").split("| ")), done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("judge_of_the_tests", "is no MODULE:FUNCTION"),
        (":build", "is no MODULE:FUNCTION"),
        ("nowhere_at_all:build", "there is no module nowhere_at_all"),
        ("json.nowhere:build", "there is no module json.nowhere"),
        ("lacking:build", "its module needs not_installed_here"),
        ("broken:build", "its module cannot be imported: SyntaxError"),
    ],
)
def test_a_module_that_cannot_be_imported_is_an_error(
    command: Command, own: Project, name: str, says: str
) -> None:
    Path("lacking.py").write_text("import not_installed_here")
    Path("broken.py").write_text("def build(:")
    done = command("verify", own.folder / "vit.h5", *own.source, "--model", name)
    assert (done.code, done.out) == (2, "")
    assert says in done.err


def test_the_current_folder_is_looked_into_first(command: Command, own: Project) -> None:
    code = (own.folder / f"{MODULE}.py").read_text()
    Path("my_own_package").mkdir()
    Path("my_own_package/__init__.py").write_text("")
    Path("my_own_package/models.py").write_text(code)
    before = list(sys.path)
    done = command(
        "verify", own.folder / "vit.h5", *own.source, "--model", "my_own_package.models:right"
    )
    assert done.code == 0, done.err
    assert sys.path == before


def test_images_of_another_size_are_blamed_on_the_model(command: Command, own: Project) -> None:
    options = (*own.model("right"), *own.source, "--image-size", "32x40", "-o", "r.npz")
    done = command("record", *options)
    assert (done.code, done.out) == (2, "")
    assert "failed on images of 32 x 40: AssertionError: images of (1, 3, 32, 40)" in done.err
    assert not Path("r.npz").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--model", "a:b"), "your model needs the checkpoint's weights"),
        (("--model", "a:b", "--reference", "r.npz"), "recorded logits need no model"),
    ],
)
def test_options_that_do_not_go_together(
    command: Command, own: Project, arguments: tuple[str, ...], says: str
) -> None:
    done = command("verify", own.folder / "vit.h5", *arguments)
    assert (done.code, done.out) == (2, "")
    assert says in done.err


def test_source_alone_says_what_both_sides_assume(command: Command, own: Project) -> None:
    arguments = ("verify", own.folder / "vit.h5", *own.source)
    done = command(*arguments)
    assert done.code == 0, done.err
    (line,) = [line for line in done.out.splitlines() if line.startswith("both sides assume ")]
    assert "num_heads 2, " in line
    assert "gelu erf" in line
    assert "--model MODULE:FUNCTION" in line
    found = json.loads(command(*arguments, "--json").out)
    assert "num_heads 2" in found["assumed"]
    assert not [value for value in found["assumed"] if value.startswith(("mean", "image_size"))]


def test_where_nothing_is_assumed_nothing_is_said(command: Command, own: Project) -> None:
    stated = (
        *("--num-heads", "2", "--gelu", "erf", "--norm-eps", "1e-6", "--pool", "token"),
        *("--norm-position", "pre", "--rotary", "none"),
        *("--image-size", "24x50", "--position", "all"),
    )
    assert command("torch2keras", own.folder / "vit.pth", *stated, "-o", "stated.h5").code == 0
    done = command("verify", "stated.h5", *own.source)
    assert done.code == 0
    assert "both sides assume" not in done.out, done.out


def test_a_recording_holds_noise_and_pictures_and_blocks(command: Command, own: Project) -> None:
    size = ("--image-size", "24x50", "--mean", "0.48,0.45,0.41", "--std", "0.23,0.22,0.27")
    arguments = ("record", *own.model("in_a_dict"), *own.source, *size)
    done = command(*arguments, "--images", own.folder / "pictures", "-o", "r.npz")
    assert done.code == 0, done.err
    assert done.out.startswith(
        "r.npz: 4 images of noise and 20 pictures of 24x50, 7 values each, 3 blocks\n"
    )
    assert "mean given, std given" in done.out
    found = read_reference("r.npz")
    assert found.images.shape == (24, 24, 50, 3)
    assert found.names[:5] == ("noise 0", "noise 1", "noise 2", "noise 3", "a/0.png")
    assert list(found.blocks) == ["embeddings", "blocks.0", "blocks.1", "blocks.2"]
    assert found.blocks["blocks.1"].shape == (1, 16, 128)
    assert "logits taken, with vit.pth" in found.made_with
    done = command("verify", own.folder / "vit_float32.tflite", "--reference", "r.npz", "--json")
    assert done.code == 0, done.out
    assert json.loads(done.out)["num_images"] == 24


def test_an_existing_recording_is_kept_unless_forced(command: Command, own: Project) -> None:
    Path("r.npz").write_text("precious")
    arguments = ("record", *own.model("right"), *own.source, "--image-size", "24x50", "-o", "r.npz")
    done = command(*arguments)
    assert (done.code, done.out) == (2, "")
    assert Path("r.npz").read_text() == "precious"
    done = command(*arguments, "--force", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["images"] == 4
    assert read_reference("r.npz").logits.shape == (4, 7)


def test_a_model_without_a_checkpoint_is_recorded_as_it_is(command: Command, own: Project) -> None:
    arguments = ("record", *own.model("instance_again"), "-o", "r.npz")
    sys.modules[MODULE].instance_again = lambda: sys.modules[MODULE].instance  # type: ignore[attr-defined]
    done = command(*arguments)
    assert (done.code, done.out) == (2, "")
    assert "--image-size" in done.err
    done = command(*arguments, "--image-size", "24x50", "--images", own.folder / "pictures")
    assert done.code == 2
    assert "--mean, --std" in done.err
    done = command(*arguments, "--image-size", "24x50")
    assert done.code == 0, done.err
    found = read_reference("r.npz")
    with torch.no_grad():
        images = torch.from_numpy(np.ascontiguousarray(found.images.transpose(0, 3, 1, 2)))
        expected = sys.modules[MODULE].instance.eval()(images).numpy()  # type: ignore[attr-defined]
    np.testing.assert_allclose(found.logits, expected, rtol=0, atol=1e-6)
    assert list(found.blocks) == ["embeddings", "blocks.0", "blocks.1", "blocks.2"]
