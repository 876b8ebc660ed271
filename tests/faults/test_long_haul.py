"""Memory stays flat, huge checkpoints open at once, and runs side by side do not disturb others."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from recovery import CONVERT, fingerprint

from vit_convert.architectures import architecture
from vit_convert.architectures.vit.config import ViTConfig

pytestmark = pytest.mark.once  # of the system, and not of Python
ROOT = Path(__file__).parents[2]
GIGABYTE = 10**9
# Opens a checkpoint, and tells the seconds of computing, the megabytes above those of the imports,
# and the bytes of its tensors.
OPEN = """
import json, resource, sys, time
from vit_convert.checkpoint import open_checkpoint

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

before, started = peak(), time.process_time()
tensors = open_checkpoint(sys.argv[1]).tensors
size = 0
for tensor in tensors.values():
    count = 4
    for side in tensor.shape:
        count *= side
    size += count
print(json.dumps([time.process_time() - started, peak() - before, size]))
"""


def test_memory_stays_flat() -> None:
    """`scripts/long_haul` as it is goes on for much longer."""
    command = [sys.executable, "scripts/long_haul", "--conversions", "40", "--predictions", "400"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("40 conversions")


@pytest.fixture
def huge(tmp_path: Path) -> Path:
    """A safetensors file of a ViT of 5 billion parameters, 20 GB on no disk at all."""
    config = ViTConfig(
        image_size=(224, 224),
        patch_size=(16, 16),
        num_classes=1000,
        embed_dim=4096,
        depth=25,
        num_heads=64,
        mlp_dim=16384,
    )
    header: dict[str, object] = {}
    end = 0
    for parameter in architecture("vit").parameters(config):
        size = 4
        for side in parameter.shape:
            size *= side
        offsets = [end, end + size]
        header[parameter.name] = {"dtype": "F32", "shape": parameter.shape, "data_offsets": offsets}
        end += size
    text = json.dumps(header).encode()
    path = tmp_path / "huge.safetensors"
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)
    assert 20 * GIGABYTE < path.stat().st_size < 21 * GIGABYTE
    return path


def test_a_checkpoint_of_20_gigabytes_opens_at_once(huge: Path) -> None:
    command = [sys.executable, "-c", OPEN, str(huge)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    seconds, megabytes, size = json.loads(done.stdout)
    assert seconds < 1
    assert megabytes < 200
    assert size > 20 * GIGABYTE


def at_once(folder: Path, outputs: list[str]) -> list[tuple[int, str]]:
    """Convert into each of the outputs, all at the same time: exit codes and messages."""
    command = [sys.executable, "-m", "vit_convert", *CONVERT, "-o"]
    running = [
        subprocess.Popen(
            [*command, output],
            cwd=folder,
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for output in outputs
    ]
    said = [process.communicate(timeout=200)[1] for process in running]
    return [(p.returncode, text) for p, text in zip(running, said, strict=True)]


def test_eight_conversions_at_once_in_one_folder(tmp_path: Path) -> None:
    outputs = [f"{i}.h5" for i in range(8)]
    ended = at_once(tmp_path, outputs)
    assert [code for code, _ in ended] == [0] * 8, ended
    assert sorted(path.name for path in tmp_path.iterdir()) == outputs
    assert len({fingerprint(tmp_path / name) for name in outputs}) == 1


@pytest.mark.parametrize("count", [2, 8])
def test_of_conversions_to_one_output_one_wins(count: int, tmp_path: Path) -> None:
    ended = at_once(tmp_path, ["model.h5"] * count)
    assert sorted(code for code, _ in ended) == [0] + [2] * (count - 1), ended
    assert [path.name for path in tmp_path.iterdir()] == ["model.h5"]
    for code, said in ended:
        assert ("exists already, and is kept" in said) == (code == 2)
        assert "Traceback" not in said
