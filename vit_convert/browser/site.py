"""The folder that `vit-convert web` writes: the page, the model and LiteRT.js."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path, PurePath
from typing import Any, overload

from vit_convert.browser import runtime as litert_js
from vit_convert.browser.description import describe
from vit_convert.errors import UsageError
from vit_convert.exporters import artifact_size
from vit_convert.exporters.given import ArtifactLike, given_artifacts
from vit_convert.images.decoding import decode_image
from vit_convert.images.pictures import HeldPicture, Pictures, given_pictures
from vit_convert.progress import Progress, of_part, silent
from vit_convert.results import Result
from vit_convert.runtime.atomic_write import atomic_write, check_output, check_space

MODEL = "model.tflite"
DESCRIPTION = "model.json"
RUNTIME = "litert"
SAMPLES = "samples"
_MAX_SAMPLES = 12  # the page shows all of them
_BUILD = ".wasm"  # of LiteRT.js; the page unpacks the one that it loads
_CHUNK = 2**22


@dataclass(frozen=True)
class WebPage(Result):
    """A page that was written.

    Attributes:
        folder: with all that the page needs: `index.html`, the model, LiteRT.js, the samples.
        model: the .tflite file that it runs a copy of.
        size: of all files, in bytes.
    """

    folder: Path
    model: Path
    size: int


@overload
def web(  # type: ignore[overload-overlap]  # a text is a path, and no list
    artifacts: ArtifactLike,
    folder: str | Path | None = None,
    *,
    runtime: str | Path | None = None,
    labels: Sequence[str] = (),
    samples: Pictures = (),
    force: bool = False,
    progress: Progress = silent,
) -> WebPage: ...


@overload
def web(
    artifacts: Iterable[ArtifactLike],
    folder: str | Path | None = None,
    *,
    runtime: str | Path | None = None,
    labels: Sequence[str] = (),
    samples: Pictures = (),
    force: bool = False,
    progress: Progress = silent,
) -> list[WebPage]: ...


def web(
    artifacts: ArtifactLike | Iterable[ArtifactLike],
    folder: str | Path | None = None,
    *,
    runtime: str | Path | None = None,
    labels: Sequence[str] = (),
    samples: Pictures = (),
    force: bool = False,
    progress: Progress = silent,
) -> WebPage | list[WebPage]:
    """Write static pages that run .tflite files in the browser, and ask no other server for
    anything.

    Args:
        artifacts: the path of a .tflite file that `export` wrote, an open one, or several of
            either. Its bytes are copied unchanged.
        folder: what to write, `<name>_web` in the current folder by default; of several artifacts,
            an existing folder in which each page is a folder of that name.
        runtime: LiteRT.js, where there is no network: what `npm pack` gave, or its folder.
        labels: class names; those that the file carries by default.
        samples: pictures, as `predict` takes them, that the page offers to those who have none at
            hand.
        force: replace a folder that is there.
        progress: told of each step; each page is a part.

    Returns:
        the page that was written; of several artifacts a list, in their order.

    Raises:
        UsageError, ArtifactError: an artifact cannot be shown, or two have one name, or there are
            too many samples.
        ImageError: a sample cannot be read.
        MissingDependencyError: LiteRT.js cannot be fetched, or is another than was pinned.
        OutputError: the folder exists, or cannot be written.
    """
    given = given_artifacts(artifacts)
    names = [Path(f"{path.stem}_web") for path in given.paths]
    targets = [Path(folder or ".", name) for name in names]
    if folder is not None and not given.several:
        targets = [Path(folder)]
    for target in targets:
        if targets.count(target) > 1:
            raise UsageError(
                "would be written twice", where=str(target), expected="files with different names"
            )
        check_output(target, force, DESCRIPTION)
    descriptions = [describe(path, labels) for path in given.paths]
    pictures = _samples(samples)
    files = _packed(litert_js.runtime_files(runtime, progress))
    files |= {f"{SAMPLES}/{name}": content for name, (content, _) in pictures.items()}
    pages = []
    for part, (source, target) in enumerate(zip(given.paths, targets, strict=True)):
        inner = of_part(progress, source.name, part, len(targets))
        _write(source, target, descriptions[part], files, pictures, force, inner)
        pages.append(WebPage(target, source, artifact_size(target)))
    return pages if given.several else pages[0]


def _write(
    source: Path,
    target: Path,
    description: dict[str, Any],
    files: Mapping[str, bytes],
    pictures: Mapping[str, tuple[bytes, str]],
    force: bool,
    progress: Progress,
) -> None:
    """Write the page of a .tflite file, with files of others beside its own."""
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
            "runtime": f"LiteRT.js {litert_js.VERSION}",
            "samples": [
                {"file": f"{SAMPLES}/{name}", "title": title}
                for name, (_, title) in pictures.items()
            ],
        }
        (scratch / DESCRIPTION).write_text(json.dumps(description, indent=1), encoding="utf-8")


def _packed(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The runtime's files where the page looks for them, the builds to a third of their size."""
    packed = {}
    for name, content in files.items():
        if name.endswith(_BUILD):
            name, content = f"{name}.gz", gzip.compress(content, 6, mtime=0)
        packed[f"{RUNTIME}/{name}"] = content
    return packed


def _samples(samples: Pictures) -> dict[str, tuple[bytes, str]]:
    """Pictures under names that every web server can serve: their bytes, and titles for people.

    Files are copied; what lies in memory is written as PNG.
    """
    given = given_pictures(samples, "samples")
    if len(given) > _MAX_SAMPLES:
        raise UsageError(
            f"{len(given)} pictures",
            where="--sample",
            expected=f"at most {_MAX_SAMPLES}: the page shows all of them",
        )
    found = {}
    for place, picture in enumerate(given.each):
        if isinstance(picture, HeldPicture):
            png = io.BytesIO()
            picture.decode().save(png, "PNG")
            found[f"{place}.png"] = png.getvalue(), picture.name
            continue
        content, name = given.storage.read(picture), PurePath(picture)
        decode_image(content, picture)
        found[f"{place}{name.suffix.lower()}"] = content, name.stem
    return found


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
