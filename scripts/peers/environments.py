"""Virtual environments of the peers, each made once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

# torch first and torchvision without its wishes: nothing then fetches a build of its own choice.
_TORCH = (("torch==2.13.0",), ("torchvision==0.28.0", "--no-deps"))
PEERS = {
    "litert-torch": (*_TORCH, ("litert-torch==0.10.0", "timm==1.0.31")),
    "onnx2tf": (*_TORCH, ("onnx2tf==1.29.24", "timm==1.0.31")),
}


def python_of(peer: str, folder: Path) -> Path:
    """The interpreter of a peer's environment.

    Raises:
        subprocess.CalledProcessError: pip cannot install it.
    """
    home = folder / peer
    python, complete = home / "bin" / "python", home / "complete"
    if not complete.exists():
        print(f"installing {peer} into {home}", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        for packages in PEERS[peer]:
            subprocess.run([str(python), "-m", "pip", "install", "--quiet", *packages], check=True)
        complete.touch()
    return python
