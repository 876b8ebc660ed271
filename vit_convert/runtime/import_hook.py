"""Imports a module of ours as soon as anybody imports another one.

The package wrapt can do this too, but importing it took longer than all of `vit-convert --help`.
"""

from __future__ import annotations

import sys
from importlib import import_module, util
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


def after_import(name: str, ours: str) -> None:
    """Import `ours` as soon as the module `name` is imported, or now if it is imported already."""
    if sys.modules.get(name) is not None:
        import_module(ours)
    else:
        sys.meta_path.insert(0, _Finder(name, ours))


class _Finder:
    """Finds one module as the other finders do, and imports ours after it has been executed."""

    def __init__(self, name: str, ours: str) -> None:
        self._name, self._ours = name, ours
        self._asking_others = False

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """See importlib.abc.MetaPathFinder."""
        if name != self._name or self._asking_others:
            return None
        self._asking_others = True
        try:
            spec = util.find_spec(name)
        finally:
            self._asking_others = False
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                execute(module)
                import_module(self._ours)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]  # of this one
        return spec
