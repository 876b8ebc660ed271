"""Virtual environments of other tools and of other versions, each made once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

# torch first and torchvision without its wishes: nothing then fetches a build of its own choice.
_TORCH = (("torch==2.13.0",), ("torchvision==0.28.0", "--no-deps"))
PEERS = {
    "litert-torch": (
        *_TORCH,
        ("litert-torch==0.10.0", "timm==1.0.31", "transformers==5.24.0"),
    ),
    "onnx2tf": (*_TORCH, ("onnx2tf==1.29.24", "timm==1.0.31")),
}
TAKE_TRANSFORMERS = ("litert-torch",)  # the peers that convert the models of published.py, too

MEDIAPIPE = "1.2.3"


def python_with_mediapipe(folder: Path) -> Path:
    """The interpreter of an environment that has MediaPipe.

    Raises:
        subprocess.CalledProcessError: pip cannot install it.
    """
    return python_with(f"mediapipe-{MEDIAPIPE}", ((f"mediapipe=={MEDIAPIPE}",),), folder)


def python_of(peer: str, folder: Path) -> Path:
    """The interpreter of a peer's environment.

    Raises:
        subprocess.CalledProcessError: pip cannot install it.
    """
    return python_with(peer, PEERS[peer], folder)


def python_with(name: str, installs: Sequence[Sequence[str]], folder: Path) -> Path:
    """The interpreter of an environment, which is made where there is none.

    Args:
        name: of the environment.
        installs: the arguments of each `pip install`, in turn.
        folder: where environments lie.

    Raises:
        subprocess.CalledProcessError: pip cannot install it.
    """
    home = folder / name
    python, complete = home / "bin" / "python", home / "complete"
    if not complete.exists():
        print(f"installing {name} into {home}", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(home)], check=True)
        for packages in installs:
            subprocess.run([str(python), "-m", "pip", "install", "--quiet", *packages], check=True)
        complete.touch()
    return python
