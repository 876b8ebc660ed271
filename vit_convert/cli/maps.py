"""`predict` of models that say something of every pixel: maps, drawn and as numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vit_convert.cli import console
from vit_convert.errors import UsageError

if TYPE_CHECKING:
    from vit_convert.exporters import Artifact
    from vit_convert.progress import Progress

LIST = "maps.json"  # in every folder of maps


def write_maps(
    artifact: Artifact,
    pictures: Sequence[str],
    output: str | None,
    refused: Mapping[str, object],
    *,
    force: bool,
    as_json: bool,
    progress: Progress,
) -> None:
    """Write two files for each picture into a folder, which appears when it is whole.

    Args:
        artifact: that gives depth or segments.
        pictures: paths, folders or addresses.
        output: the folder.
        refused: options that mean nothing here -> their values.
        force: replace a folder of maps.
        as_json: print JSON.
        progress: told what is being done.

    Raises:
        UsageError: an option does not fit, or there is no folder to write to.
        OutputError: the folder cannot be written.
        ImageError: no picture can be read.
    """
    import numpy as np

    from vit_convert.images.decoding import ImageError
    from vit_convert.images.pictures import given_pictures
    from vit_convert.inference.maps import predict_map
    from vit_convert.runtime.atomic_write import atomic_write, check_output

    if given := next((name for name, value in refused.items() if value), None):
        raise UsageError(
            f"the artifact gives {artifact.output.kind}, of which there are no rows",
            where=given,
            expected="-o FOLDER and --force alone",
        )
    if output is None:
        raise UsageError(
            f"the artifact gives {artifact.output.kind}, which is written into a folder",
            where=str(artifact.path),
            expected="-o FOLDER",
            hint=f"-o {artifact.output.kind}",
        )
    folder = Path(output)
    check_output(folder, force, LIST)
    found = given_pictures(list(pictures))
    rows: list[dict[str, Any]] = []
    problem: ImageError | None = None  # the first
    with atomic_write(folder, force, LIST) as scratch:
        scratch.mkdir()
        taken: set[str] = set()
        for done, (picture, name) in enumerate(zip(found.each, found.names, strict=True)):
            progress("pictures", done, len(found))
            try:
                made = predict_map(artifact, found.decode(picture), name)
            except ImageError as error:
                problem = problem or error
                console.note(f"{name}: {error.what}")
                rows.append({"path": name, "error": error.what})
                continue
            stem = _unique(Path(name).stem, taken)
            made.drawn().save(scratch / f"{stem}.png")
            np.save(scratch / f"{stem}.npy", made.values, allow_pickle=False)
            rows.append({**made.to_dict(), "drawn": f"{stem}.png", "values": f"{stem}.npy"})
        if problem is not None and not any("drawn" in row for row in rows):
            raise problem
        (scratch / LIST).write_text(json.dumps(rows, indent=1) + "\n")
    unreadable = sum("error" in row for row in rows)
    if as_json:
        console.out_json({"output": output, "maps": rows, "unreadable": unreadable})
        return
    kind = artifact.output.kind
    tail = f", {unreadable} unreadable" if unreadable else ""
    console.out(f"{output}: {kind} of {len(rows) - unreadable} pictures, .png and .npy{tail}")


def _unique(stem: str, taken: set[str]) -> str:
    """A name that no other picture has, nor the list."""
    name, again = stem, 1
    while name in taken or f"{name}.json" == LIST:
        again += 1
        name = f"{stem}_{again}"
    taken.add(name)
    return name
