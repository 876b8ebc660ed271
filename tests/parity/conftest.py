"""The GPU driver that tests of the delegate run on."""

from __future__ import annotations

import os

import pytest

from vit_convert.parity.gpu.process import software_drivers


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver that the environment names, or else SwiftShader, whatever GPU there is."""
    if "VK_ICD_FILENAMES" in os.environ:
        return
    drivers = software_drivers()
    if not drivers:
        pytest.fail(
            "there is no SwiftShader driver: apt-get install --no-install-recommends chromium, "
            "which scripts/test does as root"
        )
    monkeypatch.setenv("VK_ICD_FILENAMES", drivers[0])
