"""A Chromium, and pages of the trained models and of a small one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from browsing import Browser, served, start_chromium

from vit_convert.architectures import Overrides
from vit_convert.browser.site import web
from vit_convert.conversion.files import torch2keras
from vit_convert.conversion.h5_file import write_h5
from vit_convert.exporters import ExportOptions, export
from vit_convert.labels.names import read_labels

WEIGHTS = Path(__file__).parents[2] / "weights"
CHECKPOINTS = {"vit": "vit_cifar10.pth", "cait": "cait_cifar10.safetensors"}
# names that would be markup, were they not taken for text
LABELS = ("<b>ant</b>", "<img src=x onerror=alert(1)>", "cat & co", "Ël", "e\u202el", "fox", "gnu")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    driver = start_chromium()
    yield Browser(driver)
    driver.quit()


@pytest.fixture
def browser(chromium: Browser) -> Iterator[Browser]:
    """Chromium, that asks nobody but the page's own server, and breaks no rule of the page."""
    chromium.console(), chromium.requests()
    yield chromium
    foreign = {url for url in chromium.requests() if not url.startswith(chromium.origin)}
    broken_rules = [line for line in chromium.console() if "Content Security Policy" in line]
    chromium.driver.get("about:blank")
    assert (foreign, broken_rules) == (set(), [])


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The .tflite of "vit" or "cait", as trained, with attention; or "small", of uint8 pixels that
    are not square, giving probabilities and attention; or "tokens", of the trained ViT; or
    "depth" or "segments", of small random models."""
    folder = tmp_path_factory.mktemp("models")

    @cache
    def make(name: str) -> Path:
        h5 = folder / f"{name}.h5"
        options = ExportOptions(attention=True)
        if name == "small":
            from families import small_vit  # here, because trained models need no PyTorch

            family = small_vit(depth=2)
            write_h5(h5, replace(family.spec, labels=LABELS), family.tensors())
            options = ExportOptions(attention=True, output="softmax", embed_preprocessing=True)
        elif name in ("depth", "segments"):
            import depth_sources

            source = folder / name
            source.mkdir()
            if name == "depth":
                depth_sources.depth_anything().save_pretrained(source)
            else:
                source, _ = depth_sources.own_segmentation(source)
            heads = 3 if name == "segments" else None
            torch2keras(source, h5, overrides=Overrides(image_size=(36, 60), num_heads=heads))
            options = ExportOptions()
        elif name == "tokens":
            torch2keras(WEIGHTS / CHECKPOINTS["vit"], h5)
            options = ExportOptions(output="tokens")
        else:
            labels = read_labels(WEIGHTS / "cifar10_labels.txt")
            crop = Overrides(crop_pct=1.0)
            torch2keras(WEIGHTS / CHECKPOINTS[name], h5, overrides=crop, labels=labels)
        return export(h5, ["tflite"], folder, options)[0]

    return make


@pytest.fixture(scope="session")
def pages(
    models: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """The page of a model, written once."""
    folder = tmp_path_factory.mktemp("pages")
    return cache(lambda name: web(models(name), folder / name).folder)


@pytest.fixture(scope="session")
def addresses(pages: Callable[[str], Path]) -> Iterator[Callable[[str], str]]:
    """Where the page of a model is served."""
    with ExitStack() as stack:
        yield cache(lambda name: stack.enter_context(served(pages(name))))
