"""The page in a real browser: on WebAssembly, and on WebGPU (SwiftShader's, which needs no GPU)."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
from browsing import Browser, served
from PIL import Image
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

from vit_convert.browser.site import web
from vit_convert.exporters import open_artifact
from vit_convert.exporters.tflite.graph_reader import TfliteGraph
from vit_convert.inference.attention import attention_of, look, towards_patches
from vit_convert.inference.components import principal_colours
from vit_convert.inference.features import patch_tokens
from vit_convert.inference.maps import predict_maps
from vit_convert.inference.predict import predict
from vit_convert.parity.recorded import read_reference

WEIGHTS = Path(__file__).parents[2] / "weights"
PICTURES = WEIGHTS / "images"
ACCELERATORS = {"wasm": "WebAssembly", "webgpu": "WebGPU"}
Models = Callable[[str], Path]
Addresses = Callable[[str], str]

RUN = """
const [images] = given, logits = [];
for (const image of images) {
  const outputs = await vitConvert.run(Float32Array.from(image));
  logits.push([...outputs[vitConvert.description.output.name]]);
}
return logits;
"""


@pytest.mark.parametrize("accelerator", ACCELERATORS)
@pytest.mark.parametrize("name", ["vit", "cait"])
def test_logits_are_those_that_pytorch_gave(
    name: str, accelerator: str, browser: Browser, addresses: Addresses, models: Models
) -> None:
    browser.open(addresses(name), f"?accelerator={accelerator}")
    recording = read_reference(WEIGHTS / f"{name}_cifar10_reference.npz")
    images, expected = recording.images[::13], recording.logits[::13]
    logits = np.array(browser.call(RUN, images.reshape(len(images), -1).tolist()))
    assert logits.shape == expected.shape
    assert np.abs(logits - expected).max() <= 1e-5 * np.abs(expected).max()
    operations = len(TfliteGraph(models(name)).operations)
    taken = operations if accelerator == "webgpu" else 0
    assert browser.text("operations") == f"{taken} of {operations}"
    assert browser.text("ran-on").startswith(ACCELERATORS[accelerator])
    assert browser.text("message") == ""


def expected_classes(model: Path, picture: Path) -> list[dict[str, Any]]:
    (found,) = predict(open_artifact(model), [picture])
    return [
        {"label": label, "probability": pytest.approx(probability, abs=1e-3)}
        for label, probability in zip(found.labels, found.probabilities, strict=True)
    ]


def without_index(classes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: c[key] for key in ("label", "probability")} for c in classes]


@pytest.mark.parametrize("name", ["vit", "cait"])
def test_a_picture_is_classified_as_predict_does(
    name: str, browser: Browser, addresses: Addresses, models: Models
) -> None:
    browser.open(addresses(name), "?accelerator=wasm")
    for picture in sorted(PICTURES.glob("[a-d]*/0003.jpg")):
        browser.choose(picture)
        expected = expected_classes(models(name), picture)
        assert without_index(browser.classes()) == expected, picture
        first = browser.driver.find_element(By.CSS_SELECTOR, "#classes li").text.split("\n")
        assert first[0] == expected[0]["label"]
        assert float(first[1].removesuffix(" %")) == pytest.approx(
            100 * browser.classes()[0]["probability"], abs=0.051
        )


@pytest.fixture
def photograph(tmp_path: Path) -> Path:
    """A picture whose sides the small model's are not in proportion to."""
    rows, columns = np.mgrid[0:90, 0:131]
    waves = [128 + 120 * np.sin(rows / a + columns / b) for a, b in ((9, 31), (17, 12), (40, 7))]
    path = tmp_path / "photograph.png"
    Image.fromarray(np.stack(waves, -1).astype(np.uint8)).save(path)
    return path


@pytest.mark.parametrize("accelerator", ACCELERATORS)
def test_pixels_in_and_probabilities_out(
    accelerator: str, photograph: Path, browser: Browser, addresses: Addresses, models: Models
) -> None:
    browser.open(addresses("small"), f"?accelerator={accelerator}")
    browser.choose(photograph)
    assert without_index(browser.classes()) == expected_classes(models("small"), photograph)


@pytest.mark.parametrize("accelerator", ACCELERATORS)
def test_patches_have_the_colours_that_features_gives_them(
    accelerator: str, photograph: Path, browser: Browser, addresses: Addresses, models: Models
) -> None:
    browser.open(addresses("tokens"), f"?accelerator={accelerator}")
    browser.choose(photograph)
    _, tokens = patch_tokens(models("tokens"), photograph)
    expected = principal_colours(tokens)[0].reshape(-1, 3)
    found = browser.call("return vitConvert.shown.colours.map((shades) => [...shades])")
    assert np.abs(np.array(found).T - expected).max() <= 0.02
    drawn = browser.call(
        "const c = document.getElementById('overlay');"
        "const [rows, columns] = vitConvert.description.tokens.grid;"
        "const { data } = c.getContext('2d').getImageData(0, 0, c.width, c.height), at = [];"
        "for (let p = 0; p < rows * columns; p += 1) {"
        "  const y = Math.floor((Math.floor(p / columns) + 0.5) * c.height / rows);"
        "  const x = Math.floor((p % columns + 0.5) * c.width / columns);"
        "  at.push([...data.slice(4 * (y * c.width + x), 4 * (y * c.width + x) + 3)]);"
        "} return at;"
    )
    assert np.abs(np.array(drawn) / 255 - expected).max() <= 0.03
    assert browser.text("answer-title").lower() == "what patches have in common"
    assert browser.text("message") == ""


@pytest.mark.parametrize("name", ["depth", "segments"])
@pytest.mark.filterwarnings("ignore::vit_convert.errors.AssumptionWarning")
def test_pixels_have_the_colours_that_predict_draws(
    name: str, photograph: Path, browser: Browser, addresses: Addresses, models: Models
) -> None:
    browser.open(addresses(name), "?accelerator=wasm")
    browser.choose(photograph)
    (found,) = predict_maps(models(name), photograph)
    height, width = found.values.shape
    expected = np.asarray(replace(found, size=(height, width)).drawn()).astype(int)
    drawn = browser.call(
        "const c = new OffscreenCanvas(given[1], given[0]), context = c.getContext('2d');"
        "context.imageSmoothingEnabled = false;"
        "const over = document.getElementById('overlay');"
        "const [high, wide] = vitConvert.description.map.seen;"
        "const part = [0, 0, wide * over.width, high * over.height];"
        "context.drawImage(over, ...part, 0, 0, c.width, c.height);"
        "const { data } = context.getImageData(0, 0, c.width, c.height);"
        "return [[...vitConvert.shown.map.image.data], [...data]]",
        height,
        width,
    )
    made, over = (np.array(pixels).reshape(height, width, 4)[..., :3] for pixels in drawn)
    off = np.abs(made - expected).max(axis=-1)
    assert (off > 1).mean() < 0.01  # where two classes are as probable as each other
    assert np.median(np.abs(over - expected)) <= 4  # see-through colours are rounded
    if name == "segments":
        shares = {shown["label"]: shown["probability"] for shown in browser.classes()}
        assert shares == pytest.approx(dict(found.shares), abs=0.01)
    else:
        assert "no unit" in browser.text("waiting")
        assert browser.text("about").count(" · depth · ") == 1
    overlay = browser.driver.find_element(By.ID, "overlay")
    assert overlay.is_displayed()
    assert not browser.driver.find_element(By.ID, "head").is_displayed()
    browser.driver.find_element(By.ID, "over-on").click()
    assert not overlay.is_displayed()
    assert browser.text("message") == ""


def test_names_of_classes_are_text_whatever_they_hold(
    photograph: Path, browser: Browser, addresses: Addresses
) -> None:
    browser.open(addresses("small"), "?accelerator=wasm")
    browser.choose(photograph)
    shown = browser.call(
        "return [...document.querySelectorAll('#classes .label')].map((e) => e.textContent)"
    )
    assert shown == [c["label"] for c in browser.classes()]
    assert any("<" in label for label in shown)
    assert not browser.driver.find_elements(By.CSS_SELECTOR, "#classes img, #classes b")


@pytest.mark.parametrize(
    ("event", "transfer"), [("drop", "dataTransfer"), ("paste", "clipboardData")]
)
def test_pictures_can_be_dropped_and_pasted(
    event: str,
    transfer: str,
    photograph: Path,
    browser: Browser,
    addresses: Addresses,
    models: Models,
) -> None:
    browser.open(addresses("small"), "?accelerator=wasm")
    browser.call(
        """
        const [name, property, content] = given;
        const transfer = new DataTransfer();
        const bytes = Uint8Array.from(atob(content), (c) => c.charCodeAt(0));
        transfer.items.add(new File([bytes], "photograph.png", { type: "image/png" }));
        const Kind = name === "drop" ? DragEvent : ClipboardEvent;
        const event = new Kind(name, { [property]: transfer, bubbles: true, cancelable: true });
        document.body.dispatchEvent(event);
        """,
        event,
        transfer,
        base64.b64encode(photograph.read_bytes()).decode(),
    )
    browser.settle()
    assert without_index(browser.classes()) == expected_classes(models("small"), photograph)


def test_a_picture_can_be_taken_with_the_camera(browser: Browser, addresses: Addresses) -> None:
    browser.open(addresses("small"), "?accelerator=wasm")
    browser.driver.find_element(By.ID, "camera").click()
    browser.wait_for("document.getElementById('video').videoWidth > 0")
    browser.driver.find_element(By.ID, "shoot").click()
    browser.settle()
    assert len(browser.classes()) == 5
    assert browser.call("return document.getElementById('video').srcObject") is None


@pytest.mark.parametrize("name", ["small", "tokens", "depth"])
def test_what_the_camera_sees_is_shown_live(
    name: str, photograph: Path, browser: Browser, addresses: Addresses
) -> None:
    """The camera's picture moves, and so does what is drawn, until it is stopped or another picture
    is chosen."""

    def changed(what: str, was: str) -> str:
        browser.wait_for(f"({what}) !== {json.dumps(was)}")
        return browser.driver.execute_script(f"return {what}")

    values = "Array.from(window.vitConvert?.shown?.input ?? []).join()"
    drawn = "document.getElementById('overlay').toDataURL()"
    browser.open(addresses(name), "?accelerator=wasm")
    button = browser.driver.find_element(By.ID, "live")
    for _ in range(2):  # it starts again, too
        button.click()
        assert button.text == "Stop"
        seen, over = changed(values, ""), changed(drawn, "")
        for _ in range(2):
            seen, over = changed(values, seen), changed(drawn, over)
        button.click()
        browser.wait_for("document.getElementById('live').textContent === 'Live'")
        browser.settle()
        stays = browser.driver.execute_script(f"return {values}")
        browser.call("await new Promise((done) => setTimeout(done, 300))")
        assert browser.driver.execute_script(f"return {values}") == stays
    button.click()
    changed(values, stays)
    browser.choose(photograph)
    browser.wait_for("document.getElementById('live').textContent === 'Live'")
    browser.settle()
    assert not browser.driver.execute_script("return vitConvert.live")
    size = "[vitConvert.shown.picture.width, vitConvert.shown.picture.height]"
    assert browser.driver.execute_script(f"return {size}") == [131, 90]
    assert browser.text("message") == ""


def test_no_picture_from_the_camera(browser: Browser, addresses: Addresses) -> None:
    browser.open(addresses("small"), "?accelerator=wasm")
    browser.call("navigator.mediaDevices.getUserMedia = async () => { throw Error('it is off'); }")
    for name in ("camera", "live"):
        browser.driver.find_element(By.ID, name).click()
        browser.wait_for("document.getElementById('message').textContent")
        assert browser.text("message") == "There is no picture from the camera: it is off"
        assert browser.text("live") == "Live"
        browser.choose(PICTURES / "frog" / "0001.jpg")
        assert browser.text("message") == ""


def test_a_broken_picture_is_refused_and_the_last_one_stays(
    tmp_path: Path, browser: Browser, addresses: Addresses
) -> None:
    whole = PICTURES / "frog" / "0001.jpg"
    browser.open(addresses("small"), "?accelerator=wasm")
    browser.choose(whole)
    before = browser.classes()
    (tmp_path / "text.jpg").write_text("This is no picture.")
    (tmp_path / "half.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(30))
    for name in ("text.jpg", "half.png"):
        browser.choose(tmp_path / name)
        assert name in browser.text("message")
        assert "not a picture that this browser can read" in browser.text("message")
        assert browser.classes() == before
    browser.choose(whole)
    assert browser.text("message") == ""


def changed(page: Path, folder: Path, content: bytes | None, **description: Any) -> Path:
    """A copy of a page with another model file, and other values in its model.json."""
    copy = folder / "changed"
    shutil.copytree(page, copy, ignore=shutil.ignore_patterns("litert", "model.tflite"))
    shutil.copytree(page / "litert", copy / "litert", copy_function=os.link)
    if content is not None:
        (copy / "model.tflite").write_bytes(content)
    path = copy / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | description))
    return copy


def stated(content: bytes) -> dict[str, Any]:
    """What model.json says of a file."""
    return {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda whole: None, "missing"),
        (lambda whole: whole[: len(whole) // 2], "cut short"),
        (lambda whole: whole + b"!", "longer"),
        (lambda whole: bytes(len(whole)), "no TFLite file"),
        (lambda whole: whole[:-5] + b"\xff" + whole[-4:], "damaged"),
    ],
)
def test_a_broken_model_is_refused(
    damage: Callable[[bytes], bytes | None],
    message: str,
    tmp_path: Path,
    browser: Browser,
    pages: Callable[[str], Path],
) -> None:
    page = pages("small")
    copy = changed(page, tmp_path, damage((page / "model.tflite").read_bytes()))
    with served(copy) as address:
        browser.open(address, ready=False)
        browser.wait_for("document.getElementById('status').className === 'problem'")
        assert "model.tflite" in browser.text("message")
        assert message in browser.text("message")
        assert not browser.driver.find_element(By.ID, "file").is_enabled()


def test_a_model_that_litert_refuses_is_refused(
    tmp_path: Path, browser: Browser, pages: Callable[[str], Path]
) -> None:
    """Where a file is what was written, but LiteRT cannot read it."""
    content = b"\x20\0\0\0TFL3" + bytes(400)
    copy = changed(pages("small"), tmp_path, content, **stated(content))
    with served(copy) as address:
        browser.open(address, ready=False)
        browser.wait_for("document.getElementById('status').className === 'problem'")
        assert "LiteRT refuses the model" in browser.text("message")


def alphas(browser: Browser) -> np.ndarray:
    """The opacity of the attention overlay at the centre of each patch of an 8 x 8 grid."""
    values = browser.call(
        """
        const canvas = document.getElementById("overlay");
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        const place = (i) => Math.floor(((i + 0.5) / 8) * canvas.width);
        const at = (row, column) => data[(place(row) * canvas.width + place(column)) * 4 + 3];
        return Array.from({ length: 64 }, (_, i) => at(i >> 3, i & 7));
        """
    )
    return np.array(values).reshape(8, 8)


@pytest.mark.parametrize("name", ["vit", "cait"])
def test_attention_of_the_class_token_lies_over_the_picture(
    name: str, browser: Browser, addresses: Addresses, models: Models
) -> None:
    browser.open(addresses(name), "?accelerator=wasm")
    browser.choose(PICTURES / "bird" / "0003.jpg")
    artifact = open_artifact(models(name))
    image = np.array(browser.call("return [...vitConvert.shown.input]"), np.float32)
    maps = attention_of(artifact, image.reshape(1, 32, 32, 3))
    weights = look(artifact.spec, maps).layers[0].heads  # what the saliency is made of
    overlay = browser.driver.find_element(By.ID, "overlay")
    heads = Select(browser.driver.find_element(By.ID, "head"))
    assert overlay.is_displayed()
    assert len(heads.options) == 1 + len(weights)
    for choice, expected in (("", weights.mean(0)), ("1", weights[1])):
        heads.select_by_value(choice)
        drawn = alphas(browser)
        # the more a patch is looked at, the more light it lets through
        order = expected.ravel().argsort()
        least, most = (drawn.ravel()[part].mean() for part in (order[:32], order[-8:]))
        assert least - most > 30
    browser.driver.find_element(By.ID, "over-on").click()
    assert not overlay.is_displayed()


def unit(values: np.ndarray) -> np.ndarray:
    """From 0, the least, to 1, the most."""
    return (values - values.min()) / (values.max() - values.min())


def test_maps_are_taken_from_the_right_rows_and_columns(
    browser: Browser, addresses: Addresses
) -> None:
    """Of ViT, distilled DeiT, CaiT's class attention, and models that pool by the mean."""
    browser.open(addresses("small"), "?accelerator=wasm")
    rng = np.random.default_rng(0)
    for shape, query in (
        ((4, 16, 16), "class token"),
        ((4, 17, 17), "class token"),
        ((4, 1, 16), "class token"),
        ((4, 15, 15), "mean over patches"),
        ((4, 16, 16), "mean over patches"),
    ):
        weights = rng.random(shape).astype(np.float32)
        expected = towards_patches(weights, (3, 5), query).reshape(4, 15)
        block = {"heads": 4, "query": 0 if query == "class token" else None, "grid": [3, 5]}
        for head, wanted in ((None, expected.mean(0)), (2, expected[2])):
            drawn = browser.call(
                "const { attentionMap } = await import('./attention.js');"
                "const [weights, block, queries, head] = given;"
                "return [...attentionMap(Float32Array.from(weights), block, queries, head)]",
                weights.ravel().tolist(),
                block,
                shape[1],
                head,
            )
            np.testing.assert_allclose(drawn, unit(wanted), atol=1e-5)


def test_the_accelerator_can_be_switched_and_the_picture_stays(
    photograph: Path, browser: Browser, addresses: Addresses, models: Models
) -> None:
    browser.open(addresses("small"))
    assert browser.text("ran-on").startswith("WebGPU")  # the better one, unless asked otherwise
    browser.choose(photograph)
    expected = expected_classes(models("small"), photograph)
    for value, title in (("wasm", "WebAssembly"), ("webgpu", "WebGPU"), ("wasm", "WebAssembly")):
        browser.call("vitConvert.shown.classes = null")
        browser.driver.find_element(By.CSS_SELECTOR, f"[value={value}]").click()
        browser.settle()
        assert browser.text("ran-on").startswith(title)
        assert browser.driver.current_url.endswith(f"?accelerator={value}")
        assert without_index(browser.classes()) == expected


def test_runs_can_be_measured(browser: Browser, addresses: Addresses) -> None:
    browser.open(addresses("small"), "?accelerator=wasm")
    browser.driver.find_element(By.ID, "measure").click()
    browser.settle()
    assert "ms (median of 20)" in browser.text("latency")


def test_without_webgpu_it_runs_on_wasm_and_says_so_if_asked_for_webgpu(
    browser: Browser, addresses: Addresses
) -> None:
    script = "Object.defineProperty(Navigator.prototype, 'gpu', { get: () => undefined })"
    added = browser.driver.execute_cdp_cmd(
        "Page.addScriptToEvaluateOnNewDocument", {"source": script}
    )
    try:
        browser.open(addresses("small"))
        assert browser.text("ran-on").startswith("WebAssembly")
        assert browser.text("message") == ""
        browser.open(addresses("small"), "?accelerator=webgpu")
        assert browser.text("ran-on").startswith("WebAssembly")
        assert "offers no WebGPU" in browser.text("message")
    finally:
        browser.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)


def test_any_web_server_will_do(
    photograph: Path, browser: Browser, pages: Callable[[str], Path], models: Models
) -> None:
    """One that sends no headers: then a service worker adds them, and there are threads too."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(pages("small")))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as plain:
        Thread(target=plain.serve_forever, daemon=True).start()
        browser.open(f"http://127.0.0.1:{plain.server_address[1]}/", "?accelerator=wasm")
        assert re.fullmatch(r"WebAssembly \(\d+ threads\)", browser.text("ran-on"))
        browser.choose(photograph)
        assert without_index(browser.classes()) == expected_classes(models("small"), photograph)
        plain.shutdown()


def test_without_headers_and_service_workers_there_is_one_thread(
    browser: Browser, pages: Callable[[str], Path]
) -> None:
    script = "Object.defineProperty(Navigator.prototype, 'serviceWorker', { get: () => undefined })"
    command = "Page.addScriptToEvaluateOnNewDocument"
    added = browser.driver.execute_cdp_cmd(command, {"source": script})
    handler = partial(SimpleHTTPRequestHandler, directory=str(pages("small")))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as plain:
        Thread(target=plain.serve_forever, daemon=True).start()
        try:
            browser.open(f"http://127.0.0.1:{plain.server_address[1]}/", "?accelerator=wasm")
            assert browser.text("ran-on") == "WebAssembly (1 thread)"
        finally:
            browser.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)
            plain.shutdown()


def test_pictures_can_be_offered(
    tmp_path: Path, photograph: Path, browser: Browser, models: Models
) -> None:
    """Their names come from strangers too."""
    odd = tmp_path / "a <b>bird's & nest.png"
    odd.write_bytes(photograph.read_bytes())
    web(models("small"), tmp_path / "page", samples=[PICTURES / "horse", odd])
    with served(tmp_path / "page") as address:
        browser.open(address, "?accelerator=wasm")
        buttons = browser.driver.find_elements(By.CSS_SELECTOR, "#samples button")
        assert [button.get_attribute("title") for button in buttons][-1] == odd.stem
        assert len(buttons) == 1 + len(list((PICTURES / "horse").iterdir()))
        browser.wait_for("[...document.images].every((image) => image.naturalWidth > 0)")
        buttons[-1].click()
        browser.settle()
        assert without_index(browser.classes()) == expected_classes(models("small"), photograph)


def test_operations_that_the_gpu_refuses_are_named(
    tmp_path: Path, browser: Browser, pages: Callable[[str], Path]
) -> None:
    """None of ours are: so that the count is not taken on trust, a model that is not ours."""
    import tensorflow as tf

    module = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec((1, 24, 50, 3), name="images")])
    def graph(images: Any) -> dict[str, Any]:
        rows = tf.nn.relu(tf.reshape(images, (1, 60, 60)) - 0.5)
        spread = tf.broadcast_to(tf.reshape(rows, (1, 60, 10, 1, 6)), (1, 60, 10, 3, 6))
        return {"logits": tf.reduce_sum(tf.reshape(spread, (1, 1800, 6)), 1)}

    module.graph = graph
    functions = [graph.get_concrete_function()]
    content = tf.lite.TFLiteConverter.from_concrete_functions(functions, module).convert()
    description = json.loads((pages("small") / "model.json").read_text())
    copy = changed(
        pages("small"),
        tmp_path,
        content,
        **stated(content),
        input=description["input"] | {"dtype": "float32"},
        output=description["output"] | {"name": "logits"},
        attention=[],
    )
    with served(copy) as address:
        browser.open(address, "?accelerator=webgpu")
        taken, total = browser.text("operations").split(" of ")
        assert 0 < int(taken) < int(total)
        assert "The GPU refuses BROADCAST_TO" in browser.text("message")


@pytest.mark.parametrize("width", [320, 1200])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_follows_the_colour_scheme(
    width: int, scheme: str, browser: Browser, addresses: Addresses
) -> None:
    browser.media(prefers_color_scheme=scheme)
    browser.size(width, 700)
    browser.open(addresses("small"), "?accelerator=wasm")
    browser.choose(PICTURES / "horse" / "0000.jpg")
    found = browser.call(
        """
        const style = (node) => getComputedStyle(node);
        const light = (colour) => colour.match(/\\d+/g).slice(0, 3).reduce((a, b) => a + +b, 0);
        return [document.documentElement.scrollWidth, light(style(document.documentElement).color),
                light(style(document.documentElement).backgroundColor)];
        """
    )
    assert found[0] <= width
    assert (found[1] > found[2]) == (scheme == "dark")


def test_every_control_has_a_name_and_can_be_reached_by_keyboard(
    browser: Browser, addresses: Addresses
) -> None:
    browser.open(addresses("small"), "?accelerator=wasm")
    browser.choose(PICTURES / "horse" / "0000.jpg")
    nodes = browser.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    roles = ("button", "checkbox", "radio", "combobox", "slider", "img", "progressbar")
    controls = [
        (node["role"]["value"], node["name"]["value"])
        for node in nodes
        if not node["ignored"] and node["role"]["value"] in roles
    ]
    assert {role for role, _ in controls} >= {"button", "checkbox", "radio", "combobox", "slider"}
    assert not [control for control in controls if not control[1]]
    unreachable = browser.call(
        "return [...document.querySelectorAll('main input, main button, main select')]"
        ".filter((node) => node.tabIndex < 0).map((node) => node.id)"
    )
    assert unreachable == []


def test_the_page_asks_only_for_what_it_needs(browser: Browser, addresses: Addresses) -> None:
    """Of the four builds of LiteRT.js one is loaded, and no other server is asked (`browser`)."""
    browser.open(addresses("small"), "?accelerator=webgpu")
    asked = {url.removeprefix(browser.origin) for url in browser.requests()}
    assert {name for name in asked if ".wasm" in name} == {
        "litert/wasm/litert_wasm_jspi_internal.wasm.gz"
    }
    assert {"model.json", "model.tflite", "style.css", "litert/dist/index.js"} <= asked
