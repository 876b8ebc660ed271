"""The versions of the packages that run, found without importing them."""

from __future__ import annotations

import platform
from importlib import metadata

import vit_convert

_PACKAGES = (
    "numpy",
    "h5py",
    "pillow",
    "tensorflow",
    "tf-keras",
    "ai-edge-litert",
    "torch",
    "torchvision",
    "timm",
    "transformers",
)


def versions() -> dict[str, str]:
    """Name -> version, "" for a package that is missing. vit-convert and Python come first."""
    found = {"vit-convert": vit_convert.__version__, "Python": platform.python_version()}
    return found | {package: _version(package) for package in _PACKAGES}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
