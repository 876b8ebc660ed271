"""Chromium, driven: what the tests of the page share beside fixtures."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from vit_convert.browser.server import server, url

SECONDS = 300  # before a page that says nothing is given up; machines can be busy
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--no-first-run",
    # nobody to talk to but the page's server
    "--disable-quic",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    # WebGPU, WebGL and a camera on a machine that has none of them
    "--enable-unsafe-webgpu",
    "--use-webgpu-adapter=swiftshader",
    "--use-vulkan=swiftshader",
    "--disable-vulkan-surface",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--enable-features=Vulkan,WebAssemblyJSPromiseIntegration",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
)


def start_chromium() -> webdriver.Chrome:
    """A headless Chromium; its absence is a failure."""
    programs = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if None in programs:
        pytest.fail(
            "there is no chromium or no chromedriver: apt-get install --no-install-recommends "
            "chromium chromium-driver, which scripts/test does as root"
        )
    options = webdriver.ChromeOptions()
    options.binary_location = programs[0]
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(programs[1]))
    driver.set_script_timeout(SECONDS)
    return driver


class Browser:
    """A Chromium that looks at pages."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver
        self.origin = ""

    def open(self, address: str, query: str = "", ready: bool = True) -> None:
        """Go to a page; with `ready`, wait until its model can be run."""
        self.origin = address
        self.driver.get(f"{address}{query}")
        if ready:
            self.call("return await vitConvert.ready")

    def call(self, body: str, *arguments: Any) -> Any:
        """The result of the body of an async JavaScript function.

        Raises:
            AssertionError: it threw.
        """
        result, error = self.driver.execute_async_script(
            "const done = arguments[arguments.length - 1];"
            f"(async (...given) => {{ {body} }})(...[...arguments].slice(0, -1)).then("
            "(value) => done([value, null]),"
            "(error) => done([null, String(error?.stack ?? error)]))",
            *arguments,
        )
        assert error is None, error
        return result

    def text(self, name: str) -> str:
        """What the element of that id shows, or "" where it is hidden."""
        return self.driver.find_element(By.ID, name).text.strip()

    def choose(self, path: Path) -> None:
        """Choose a picture file, and wait for what is made of it."""
        self.driver.find_element(By.ID, "file").send_keys(str(path))
        self.settle()

    def settle(self) -> None:
        """Wait until all that was begun is done."""
        self.call("await vitConvert.settled()")

    def wait_for(self, condition: str) -> None:
        """Wait until a JavaScript expression is true."""
        WebDriverWait(self.driver, SECONDS).until(
            lambda driver: driver.execute_script(f"return Boolean({condition})"), condition
        )

    def classes(self) -> list[dict[str, Any]]:
        """What the page says of the last picture."""
        return self.call("return vitConvert.shown.classes")

    def console(self) -> list[str]:
        """What was logged since this was asked last."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self) -> set[str]:
        """The addresses that were asked for since this was asked last, but for data: and blob:."""
        events = [json.loads(e["message"])["message"] for e in self.driver.get_log("performance")]
        urls = {
            event["params"]["request"]["url"]
            for event in events
            if event["method"] == "Network.requestWillBeSent"
        }
        return {url for url in urls if not url.startswith(("data:", "blob:"))}

    def media(self, **features: str) -> None:
        """Emulate media features, such as prefers_color_scheme="dark"."""
        named = [{"name": k.replace("_", "-"), "value": v} for k, v in features.items()]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": named})

    def size(self, width: int, height: int, scale: float = 1) -> None:
        """Emulate a screen."""
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": width < 600},
        )


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a folder, while it is served."""
    with server(folder, 0) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield url(listening)
        listening.shutdown()
