"""Small models of every family and their artifacts, each made once."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from exporting import FAMILIES, Sample

from vit_convert.conversion.h5_file import write_h5
from vit_convert.exporters import Artifact, ExportOptions, export, open_artifact
from vit_convert.exporters.keras_h5 import load_model


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Sample]:
    """(family) -> Sample"""

    @cache
    def make(name: str) -> Sample:
        family = FAMILIES[name]()
        path = tmp_path_factory.mktemp("h5") / f"{name.replace(' ', '_')}.h5"
        write_h5(path, family.spec, family.tensors())
        images = family.images()
        return Sample(family, path, load_model(path), images, family.logits(images))

    return make


@pytest.fixture(scope="session")
def exported(
    sample: Callable[..., Sample], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Path]:
    """(target, family, **options) -> path of the artifact"""

    @cache
    def make(target: str, name: str, **options: Any) -> Path:
        folder = tmp_path_factory.mktemp(target)
        return export(sample(name).h5, [target], folder, ExportOptions(**options))[0]

    return make


@pytest.fixture(scope="session")
def opened(exported: Callable[..., Path]) -> Callable[..., Artifact]:
    """As `exported`, opened."""

    @cache
    def make(*args: Any, **options: Any) -> Artifact:
        return open_artifact(exported(*args, **options))

    return make
