"""`vit-convert web`: what it writes, what it refuses, and how it serves."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from browsing import served
from families import small_cait, small_deit, small_vit
from PIL import Image

import vit_convert
from vit_convert.browser.description import describe
from vit_convert.browser.runtime import runtime_files
from vit_convert.browser.server import HEADERS
from vit_convert.browser.site import web
from vit_convert.conversion.h5_file import write_h5
from vit_convert.errors import UsageError, VitConvertError
from vit_convert.exporters import ExportOptions, export
from vit_convert.images.decoding import ImageError

PICTURES = Path(__file__).parents[2] / "weights" / "images"

Export = Callable[..., Path]


def run(folder: Path, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vit_convert", "web", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, **options)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Export:
    """(family, **options) -> .tflite"""
    families = {
        "vit": lambda: small_vit(depth=1),
        "deit": lambda: small_deit(depth=1),
        "cait": lambda: small_cait(depth=1),
        "average pool": lambda: small_vit(
            depth=1, class_token=False, pool="avg", final_norm=False, fc_norm=True
        ),
        "headless": lambda: small_vit(depth=1, num_classes=0),
        "one channel": lambda: small_vit(depth=1, in_channels=1),
    }

    def make(name: str, **options: Any) -> Path:
        folder = tmp_path_factory.mktemp("exported")
        family = families[name]()
        write_h5(folder / "model.h5", family.spec, family.tensors())
        return export(folder / "model.h5", ["tflite"], folder, ExportOptions(**options))[0]

    return make


def test_the_folder_holds_the_very_model_and_all_that_it_needs(
    pages: Callable[[str], Path], models: Callable[[str], Path]
) -> None:
    page = pages("small")
    assert (page / "model.tflite").read_bytes() == models("small").read_bytes()
    description = json.loads((page / "model.json").read_text())
    assert description["size"] == models("small").stat().st_size
    for name, content in runtime_files().items():
        kept = page / "litert" / name
        if name.endswith(".wasm"):
            packed = kept.with_name(f"{kept.name}.gz").read_bytes()
            assert gzip.decompress(packed) == content
            assert len(packed) < len(content) / 3
        else:
            assert kept.read_bytes() == content
    assert (page / "index.html").is_file()


@pytest.mark.parametrize(
    ("name", "blocks", "query"),
    [
        ("vit", ["output_2_transformer_block_0_att"], 0),
        ("deit", ["output_2_transformer_block_0_att"], 0),
        ("cait", ["output_3_ca_ffn_block_0_att", "output_3_ca_ffn_block_1_att"], 0),
        ("average pool", ["output_2_transformer_block_0_att"], None),
    ],
)
def test_a_model_is_described(
    name: str, blocks: list[str], query: int | None, exported: Export
) -> None:
    found = describe(exported(name, attention=True))
    assert found["input"] == {
        "name": "images",
        "height": 24,
        "width": 50,
        "dtype": "float32",
        "range": "normalised",
    }
    assert found["preprocessing"] == {
        "mean": (0.48, 0.45, 0.41),
        "std": (0.23, 0.22, 0.27),
        "interpolation": "bicubic",
        "crop_pct": 0.9,
        "crop_mode": "center",
    }
    assert found["output"] == {"name": "output_1", "kind": "logits", "classes": 7}
    assert found["labels"] == list("0123456")  # none are known
    assert [block["output"] for block in found["attention"]] == blocks
    for block in found["attention"]:
        assert block["query"] == query
        assert (block["heads"], block["grid"], block["seen"]) == (4, [3, 5], [1.0, 1.0])


def test_labels_can_be_given(exported: Export) -> None:
    model = exported("vit")
    assert describe(model, list("abcdefg"))["labels"] == list("abcdefg")
    with pytest.raises(UsageError, match="2 labels"):
        describe(model, ["ant", "bee"])


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("vit", {"output": "features"}, "gives features, not classes"),
        ("headless", {}, "gives features, not classes"),
        ("vit", {"batch_size": 3}, "batch of 3"),
        ("vit", {"batch_size": "dynamic"}, "batch of dynamic"),
        ("one channel", {}, "1 channels"),
    ],
)
def test_what_the_page_could_not_show_is_refused(
    name: str, options: dict[str, Any], reason: str, exported: Export
) -> None:
    with pytest.raises(UsageError, match=reason):
        describe(exported(name, **options))


def test_samples_that_the_page_could_not_show_are_refused(
    tmp_path: Path, models: Callable[[str], Path]
) -> None:
    (tmp_path / "text.png").write_text("This is no picture.")
    assert len(list(PICTURES.glob("*/*.jpg"))) > 12
    for sample, error in (
        (tmp_path / "text.png", ImageError),
        (tmp_path / "missing.png", ImageError),
        (PICTURES, UsageError),
    ):
        with pytest.raises(error, match=re.escape(str(sample)) if error is ImageError else "12"):
            web(models("small"), tmp_path / "page", samples=[sample])
        assert not (tmp_path / "page").exists()


def test_other_files_are_refused_and_nothing_is_written(
    tmp_path: Path, models: Callable[[str], Path]
) -> None:
    import ai_edge_litert.schema_py_generated as schema
    import flatbuffers

    (tmp_path / "text.tflite").write_text("This is no model.")
    whole = models("small").read_bytes()
    (tmp_path / "half.tflite").write_bytes(whole[: len(whole) // 2])
    foreign = schema.ModelT()
    foreign.version, foreign.subgraphs, foreign.buffers = 3, [], [schema.BufferT()]
    builder = flatbuffers.Builder()
    builder.Finish(foreign.Pack(builder), file_identifier=b"TFL3")
    (tmp_path / "foreign.tflite").write_bytes(builder.Output())
    before = sorted(tmp_path.iterdir())
    for name, reason in (
        ("text.tflite", "is no .tflite file"),
        ("half.tflite", "damaged"),
        ("foreign.tflite", "none that vit-convert wrote"),
        ("missing.tflite", "there is no such file"),
    ):
        with pytest.raises(VitConvertError, match=reason):
            describe(tmp_path / name)
        done = run(tmp_path, name)
        assert done.returncode == 2
        assert reason in done.stderr
        assert "Traceback" not in done.stderr
    assert sorted(tmp_path.iterdir()) == before


def test_a_folder_is_kept_unless_it_is_a_page_and_forced(
    tmp_path: Path, models: Callable[[str], Path]
) -> None:
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "mine").touch()
    done = run(tmp_path, str(models("small")), "-o", "page")
    assert done.returncode == 2
    assert "exists already" in done.stderr
    done = run(tmp_path, str(models("small")), "-o", "page", "--force")
    assert done.returncode == 2
    assert "other things in it" in done.stderr
    assert (tmp_path / "page" / "mine").exists()
    (tmp_path / "page" / "model.json").touch()  # an earlier page
    done = run(tmp_path, str(models("small")), "-o", "page", "--force")
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "page" / "mine").exists()
    assert done.stdout.startswith("page: ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["page"]


def test_without_network_nothing_is_written(tmp_path: Path, models: Callable[[str], Path]) -> None:
    environment = os.environ | {
        "VIT_CONVERT_CACHE": str(tmp_path / "cache"),
        "NPM_CONFIG_REGISTRY": "http://127.0.0.1:9",
    }
    done = run(tmp_path, str(models("small")), env=environment)
    assert done.returncode == 2
    assert "cannot be downloaded" in done.stderr
    assert "--runtime" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def serving(tmp_path: Path, models: Callable[[str], Path]) -> Iterator[subprocess.Popen[str]]:
    """`vit-convert web --serve 0`, begun in an empty folder, with an empty folder for what is
    temporary."""
    (tmp_path / "here").mkdir()
    (tmp_path / "temporary").mkdir()
    command = [sys.executable, "-m", "vit_convert", "web", str(models("small")), "--serve", "0"]
    process = subprocess.Popen(
        command,
        cwd=tmp_path / "here",
        env=os.environ | {"TMPDIR": str(tmp_path / "temporary"), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # a shell that starts the tests in the background has them ignore it
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    yield process
    process.kill()
    process.communicate()


def test_serve_prints_the_address_and_ends_with_ctrl_c(
    serving: subprocess.Popen[str], tmp_path: Path
) -> None:
    assert serving.stdout is not None
    line = serving.stdout.readline()
    assert line.startswith("serving http://127.0.0.1:"), serving.communicate()
    address = urlsplit(line.split()[1])
    connection = HTTPConnection(address.netloc)
    connection.request("GET", "/")
    answer = connection.getresponse()
    assert answer.status == 200
    assert b"vit-convert" in answer.read()
    connection.close()
    serving.send_signal(signal.SIGINT)
    _, stderr = serving.communicate(timeout=60)
    assert serving.returncode == 0
    assert "Traceback" not in stderr
    assert list((tmp_path / "here").iterdir()) == list((tmp_path / "temporary").iterdir()) == []


def test_a_port_in_use_is_refused(tmp_path: Path, models: Callable[[str], Path]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = run(tmp_path, str(models("small")), "-o", "page", "--serve", str(port))
    assert done.returncode == 2
    assert f"port {port}: is in use already" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("", "text/html"),
        ("style.css", "text/css"),
        ("app.js?accelerator=wasm", "text/javascript"),
        ("model.json", "application/json"),
        ("icon.svg", "image/svg+xml"),
        ("model.tflite", "application/octet-stream"),
        ("litert/wasm/litert_wasm_internal.wasm.gz", "application/gzip"),
    ],
)
def test_answers_have_their_type_and_isolate_the_page(
    path: str, kind: str, pages: Callable[[str], Path]
) -> None:
    with served(pages("small")) as address:
        connection = HTTPConnection(urlsplit(address).netloc)
        connection.request("HEAD", f"/{path}")
        answer = connection.getresponse()
        assert answer.status == 200
        assert answer.headers["Content-Type"] == kind
        for name, value in HEADERS.items():
            assert answer.headers[name] == value
        connection.close()


def test_python_writes_pages_of_one_or_several(
    tmp_path: Path, models: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With samples of every kind: files as they are, the rest as PNG."""
    monkeypatch.chdir(tmp_path)
    path = models("small")
    other = Path(shutil.copy(path, tmp_path / "other.tflite"))
    file = next(PICTURES.glob("*/*.jpg"))
    array = np.asarray(Image.open(file))
    page = vit_convert.web(vit_convert.open_artifact(path), samples=[file, array])
    assert (page.folder, page.model) == (Path(f"{path.stem}_web"), path)
    assert page.size == sum(p.stat().st_size for p in page.folder.rglob("*") if p.is_file())
    described = json.loads((page.folder / "model.json").read_text())
    assert [s["title"] for s in described["samples"]] == [file.stem, "picture 1"]
    first, second = (page.folder / sample["file"] for sample in described["samples"])
    assert first.read_bytes() == file.read_bytes()
    np.testing.assert_array_equal(np.asarray(Image.open(second)), array)
    Path("pages").mkdir()
    pages = vit_convert.web([path, other], "pages")
    assert [each.folder for each in pages] == [
        Path("pages", f"{path.stem}_web"),
        Path("pages/other_web"),
    ]
    assert all((each.folder / "index.html").is_file() for each in pages)


def test_python_says_what_makes_no_page(tmp_path: Path, models: Callable[[str], Path]) -> None:
    path = models("small")
    for given, keywords, message in (
        (3, {}, "artifacts: cannot be the int 3"),
        ([path, None], {}, r"artifacts\[1\]: cannot be None"),
        ([path, path], {}, "would be written twice"),
        (path, {"samples": 3}, "samples: cannot be the int 3"),
        (path, {"labels": "labels.txt"}, "labels: cannot be the str 'labels.txt'"),
    ):
        with pytest.raises(UsageError, match=message):
            vit_convert.web(given, tmp_path / "page", **keywords)  # type: ignore[call-overload]
    assert not list(tmp_path.iterdir())
