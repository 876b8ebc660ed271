"""The source in the user's own model: the only judge of what a checkpoint does not say.

The user's code is imported and run here, and nowhere else in the package.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from vit_convert.architectures import ModelSpec
from vit_convert.checkpoint import Checkpoint
from vit_convert.errors import UsageError
from vit_convert.parity.sources.own_blocks import OwnBlocks
from vit_convert.parity.sources.own_outputs import find_output
from vit_convert.parity.sources.own_weights import load_own
from vit_convert.parity.sources.timm_source import import_library

if TYPE_CHECKING:
    import torch

_BATCH = 16
_STEADY = 1e-4  # of the largest value: threads may round otherwise, and dropout does much more
_EXPECTED = "MODULE:FUNCTION, a function without arguments that gives a torch.nn.Module"


def build(
    name: str, checkpoint: Checkpoint, spec: ModelSpec | None, features: bool = False
) -> OwnModel:
    """The user's model with a checkpoint's weights.

    Args:
        name: "module:function".
        checkpoint: its state dict is loaded strictly.
        spec: of the converted model, for its number of blocks and its image size.
        features: take pooled features instead of logits.

    Raises:
        MissingDependencyError: PyTorch is not installed.
        UsageError: there is no such function, it fails, or its model does not take the weights.
    """
    model = make_model(name)
    load_own(model, checkpoint, name)
    return OwnModel(name, model, spec, features)


def make_model(name: str) -> torch.nn.Module:
    """What the user's function gives. Runs the user's code.

    Raises:
        MissingDependencyError: PyTorch is not installed.
        UsageError: there is no such function, it fails, or it gives no module.
    """
    import_library("torch")
    import torch

    with _current_folder_first():
        function = _function(name)
        with _blamed(name, "failed"):
            model = function()
    if not isinstance(model, torch.nn.Module):
        raise UsageError(
            f"gave {_kind(model)}, no model", where=f"--model {name}", expected=_EXPECTED
        )
    return model


class OwnModel:
    """A model of the user's; see `vit_convert.parity.sources.SourceModel`.

    Args:
        name: "module:function", for messages.
        model: in any mode; it is run in evaluation mode, in float32 on the CPU.
        spec: of the converted model; None where that is not known.
        features: take pooled features instead of logits.
    """

    def __init__(
        self, name: str, model: torch.nn.Module, spec: ModelSpec | None, features: bool = False
    ) -> None:
        import torch

        self.name, self.model, self.spec = name, model.to("cpu", torch.float32).eval(), spec
        self._features = features
        self._taken = ""
        self._is_steady = False
        self._blocks = OwnBlocks(self.model, spec)

    @property
    def description(self) -> str:
        """See SourceModel."""
        import torch

        kind = type(self.model).__name__
        taken = f", {self._taken} taken" if self._taken else ""
        return f"{self.name} ({kind}) on PyTorch {torch.__version__}, float32{taken}"

    def run(self, images: np.ndarray) -> np.ndarray:
        """See SourceModel.

        Raises:
            UsageError: the model fails, gives nothing that could be logits, or other values each
                time.
        """
        if not self._is_steady:
            self._check_steady(images[:1])
        parts = [self._run(images[i : i + _BATCH]) for i in range(0, len(images), _BATCH)]
        return np.concatenate(parts)

    def blocks(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """See SourceModel; empty where no blocks are found."""
        return self._blocks.outputs(lambda: self._forward(images), len(images))

    def _check_steady(self, images: np.ndarray) -> None:
        first, again = self._run(images), self._run(images)
        if np.abs(first - again).max() > _STEADY * np.abs(first).max():
            raise UsageError(
                "gives other values for the same image each time, in evaluation mode",
                where=f"--model {self.name}",
                expected="a model without random numbers",
                hint="nn.Dropout, or F.dropout(x, p, self.training)",
            )
        self._is_steady = True

    def _run(self, images: np.ndarray) -> np.ndarray:
        output = self._forward(images)
        found, self._taken = find_output(output, len(images), self._features, self.name)
        return found

    def _forward(self, images: np.ndarray) -> Any:
        import torch

        batch = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2), np.float32))
        height, width = images.shape[1:3]
        with _blamed(self.name, f"failed on images of {height} x {width}"), torch.no_grad():
            return self.model(batch)


@contextmanager
def _blamed(name: str, what: str) -> Iterator[None]:
    """Whatever the user's code raises, as an error that says so."""
    try:
        yield
    except (Exception, SystemExit) as error:
        text = str(error).strip().partition("\n")[0]
        raise UsageError(
            f"{what}: {type(error).__name__}{f': {text}' if text else ''}",
            where=f"--model {name}",
            expected="a model of the artifact's image size" if "images" in what else _EXPECTED,
            hint="vit-convert --debug, which shows the traceback of your code",
        ) from error


@contextmanager
def _current_folder_first() -> Iterator[None]:
    """Modules are looked for in the current folder first, as `python -m` does."""
    sys.path.insert(0, "")
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove("")


def _function(name: str) -> Callable[[], Any]:
    module_name, _, path = name.partition(":")
    if not module_name or not path:
        raise UsageError("is no MODULE:FUNCTION", where=f"--model {name}", expected=_EXPECTED)
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if not f"{module_name}.".startswith(f"{error.name}."):
            raise UsageError(
                f"its module needs {error.name}, which is not installed",
                where=f"--model {name}",
                expected="a module that can be imported",
            ) from error
        raise UsageError(
            f"there is no module {error.name}",
            where=f"--model {name}",
            expected="a module of the current folder, or an installed one",
            hint="run vit-convert in the folder that your package lies in, or set PYTHONPATH",
        ) from error
    except (Exception, SystemExit) as error:
        raise UsageError(
            f"its module cannot be imported: {type(error).__name__}: {error}",
            where=f"--model {name}",
            expected="a module that can be imported",
            hint="vit-convert --debug, which shows the traceback of your code",
        ) from error
    for part in path.split("."):
        if not hasattr(found, part):
            raise UsageError(
                f"there is no {path} in {module_name}",
                where=f"--model {name}",
                expected=_functions_of(found),
            )
        found = getattr(found, part)
    if not callable(found) or _is_module(found):
        raise UsageError(
            f"is {_kind(found)}, and cannot be called for a model",
            where=f"--model {name}",
            expected=_EXPECTED,
        )
    if needed := _required(found):
        raise UsageError(
            f"needs arguments: {', '.join(needed)}",
            where=f"--model {name}",
            expected=_EXPECTED,
            hint="a function that calls it with them: def build(): return ...",
        )
    function: Callable[[], Any] = found
    return function


def _required(function: Callable[..., Any]) -> list[str]:
    """The arguments that a function cannot be called without."""
    try:
        parameters: Mapping[str, inspect.Parameter] = inspect.signature(function).parameters
    except (TypeError, ValueError):  # of C
        return []
    several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [
        name
        for name, parameter in parameters.items()
        if parameter.default is inspect.Parameter.empty and parameter.kind not in several
    ]


def _functions_of(module: Any) -> str:
    names = [
        name
        for name, value in vars(module).items()
        if callable(value)
        and not name.startswith("_")
        and getattr(value, "__module__", None) == getattr(module, "__name__", "")
    ]
    return f"one of {', '.join(names)}" if names else "a function that is there"


def _is_module(value: Any) -> bool:
    import torch

    return isinstance(value, torch.nn.Module)


def _kind(value: Any) -> str:
    return "None" if value is None else f"a {type(value).__name__}"
