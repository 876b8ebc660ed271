"""The folder that `vit-convert web` writes: the page, the model and LiteRT.js."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path

from vit_convert.errors import UsageError
from vit_convert.progress import Progress, silent
from vit_convert.runtime.atomic_write import atomic_write, check_output, check_space
from vit_convert.browser import runtime
from vit_convert.browser.description import describe

MODEL = "model.tflite"
DESCRIPTION = "model.json"
RUNTIME = "litert"
SAMPLES = "samples"
_MAX_SAMPLES = 12  # the page shows all of them
_BUILD = ".wasm"  # of LiteRT.js; the page unpacks the one that it loads
_CHUNK = 2**22


def write_page(
    model: str | Path,
    folder: str | Path,
    *,
    given_runtime: str | Path | None = None,
    labels: Sequence[str] = (),
    samples: Sequence[str | Path] = (),
    force: bool = False,
    progress: Progress = silent,
) -> Path:
    """Write a folder that any web server can serve, and that asks no other server for anything.

    Args:
        model: a .tflite file that `vit-convert export` wrote. Its bytes are copied unchanged.
        folder: what to write.
        given_runtime: LiteRT.js as the user has it; see `runtime_files`.
        labels: class names; those that the file carries by default.
        samples: pictures, and folders of them, that the page offers to those who have none at hand.
        force: replace the folder if it is there.
        progress: told of each step as it begins.

    Returns:
        the folder.

    Raises:
        UsageError, ArtifactError: the model cannot be shown (see `describe`), or a sample.
        MissingDependencyError: LiteRT.js cannot be fetched, or is another than was pinned.
        OutputError: the folder exists, or cannot be written.
    """
    source, target = Path(model), Path(folder)
    check_output(target, force, DESCRIPTION)
    progress(f"reading {source.name}")
    description = describe(source, labels)
    pictures = _samples(samples)
    files = _packed(runtime.runtime_files(given_runtime, progress))
    files |= {f"{SAMPLES}/{name}": content for name, (content, _) in pictures.items()}
    size = source.stat().st_size
    check_space(target.parent, size + sum(map(len, files.values())))
    progress(f"writing {target}")
    with atomic_write(target, force, DESCRIPTION) as scratch:
        scratch.mkdir()
        _write_own(scratch)
        for name, content in files.items():
            path = scratch / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        description |= {
            "file": MODEL,
            "size": size,
            "sha256": _copy(source, scratch / MODEL),
            "runtime": f"LiteRT.js {runtime.VERSION}",
            "samples": [
                {"file": f"{SAMPLES}/{name}", "title": title}
                for name, (_, title) in pictures.items()
            ],
        }
        (scratch / DESCRIPTION).write_text(json.dumps(description, indent=1), encoding="utf-8")
    return target


def _packed(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The runtime's files where the page looks for them, the builds to a third of their size."""
    packed = {}
    for name, content in files.items():
        if name.endswith(_BUILD):
            name, content = f"{name}.gz", gzip.compress(content, 6, mtime=0)
        packed[f"{RUNTIME}/{name}"] = content
    return packed


def _samples(paths: Sequence[str | Path]) -> dict[str, tuple[bytes, str]]:
    """Pictures under names that every web server can serve: their bytes, and titles for people."""
    from vit_convert.images.folders import find_images
    from vit_convert.images.preprocessing import load_image

    found: list[Path] = []
    for path in map(Path, paths):
        found += find_images(path) if path.is_dir() else [path]
    if len(found) > _MAX_SAMPLES:
        raise UsageError(
            f"{len(found)} pictures",
            where="--sample",
            expected=f"at most {_MAX_SAMPLES}: the page shows all of them",
        )
    for path in found:
        load_image(path)
    return {
        f"{i}{path.suffix.lower()}": (path.read_bytes(), path.stem) for i, path in enumerate(found)
    }


def _write_own(folder: Path) -> None:
    for file in resources.files(__package__).joinpath("page").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())


def _copy(source: Path, target: Path) -> str:
    """Copy a file, and give its SHA-256 in hexadecimal."""
    digest = hashlib.sha256()
    with source.open("rb") as read, target.open("wb") as write:
        while chunk := read.read(_CHUNK):
            digest.update(chunk)
            write.write(chunk)
    return digest.hexdigest()
