"""The part of `vit-convert inspect` that shows artifacts, and .tflite files of any origin."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from vit_convert.cli import console

if TYPE_CHECKING:
    from vit_convert.exporters.tflite.file_reader import TfliteFile

STYLES = {"assumed": "yellow", "given": "cyan"}  # of values, by how they are known
_SEVERITIES = {"wrong": "red", "refused": "yellow", "fragile": ""}
_SHOWN = 8  # inputs or outputs at most


def inspect_artifact(path: Path, as_json: bool) -> bool:
    """Show an artifact of ours; False if it is none."""
    from vit_convert.exporters import TARGETS
    from vit_convert.exporters.summary import summary

    target = next((t for t in TARGETS.values() if path.exists() and t.matches(path)), None)
    if target is None:
        return False
    found = summary(path, target.describe(path))
    if as_json:
        console.out_json(found)
    else:
        _print_summary(path, found)
    return True


def inspect_tflite(path: Path, as_json: bool) -> bool:
    """Show a .tflite file, whoever made it; False if it is none.

    Raises:
        ArtifactError: it is truncated or damaged.
    """
    from vit_convert.exporters.tflite.flatbuffer import is_tflite

    if not is_tflite(path):
        return False
    from vit_convert.exporters.tflite.description import described
    from vit_convert.exporters.tflite.file_reader import read_file

    file = read_file(path)
    found = described(file)
    own = _own_summary(file)
    if as_json:
        general = {"file": str(path), "kind": "tflite", "bytes": int(file.data.size)}
        console.out_json((own or general) | {"graph": found})
        return True
    if own is not None:
        _print_summary(path, own)
    else:
        console.out(f"{path}: TFLite, {console.megabytes(file.data.size)}, not of vit-convert")
    _print_graph(found)
    _print_defects(found["defects"])
    return True


def _own_summary(file: TfliteFile) -> dict[str, Any] | None:
    """Read our metadata from a .tflite file; None if it has none."""
    from vit_convert.exporters.metadata import Metadata
    from vit_convert.exporters.summary import summary
    from vit_convert.exporters.tflite.flatbuffer import ENTRY

    if ENTRY not in file.metadata:
        return None
    start, size = file.buffers[file.metadata[ENTRY]]
    content = file.data[start : start + size].tobytes()
    return summary(file.path, Metadata.from_json(content, str(file.path)))


def _print_summary(path: Path, found: dict[str, Any]) -> None:
    from vit_convert.architectures import architecture
    from vit_convert.conversion.name_table import readable
    from vit_convert.exporters import TARGETS

    title = TARGETS[found["kind"]].title
    console.out(f"{path}: {title}, {console.megabytes(found['bytes'])}")
    source = found["source"]
    console.out(f"made from: {source['file'] or 'unknown'}, with the names of {source['dialect']}")
    if source["changed"]:
        console.out(f"not the source's: {', '.join(source['changed'])}")
    variant = found["variant"] or "no published variant"
    console.out(f"model: {architecture(found['architecture']).title}, {variant}")
    console.out(f"parameters: {found['parameters']:,}")
    console.out(f"input: {found['input']}")
    first, *maps = found["outputs"]
    said = found["output"]
    axes = " x ".join(map(str, said["shape"]))
    of = "picture" if architecture(found["architecture"]).tower == "image" else "text"
    console.out(f"output: {axes} for each {of}; {said['meaning']}")
    console.out(f"outputs: {first}{f', and {len(maps)} attention maps' if maps else ''}")
    if found["measured"]:
        from vit_convert.exporters.quantisation_report import Measurement

        measured = Measurement.from_dict(found["measured"])
        console.out(f"precision: {found['precision']}, {measured.sentence} with its float32")
    for kept in found["in_float"]:
        text = f"{kept['layer']} ({kept['why']})"
        console.out(f"computes in float: {console.one_line(text)}")
    if found["labels"]:
        some = ", ".join(found["labels"][:3])
        console.out(f"labels: {len(found['labels'])} ({some}, ...)")
    rows = [(n, readable(v["value"]), v["known"]) for n, v in found["values"].items()]
    console.table(("value", "is", "known"), rows, styles=[STYLES.get(r[2], "") for r in rows])


def _print_graph(found: dict[str, Any]) -> None:
    made = " ".join(filter(None, (found["description"], found["minimum_runtime"])))
    console.out(f"converter: {made or 'does not say'}")
    for side in ("inputs", "outputs"):
        tensors = [f"{t['name'] or '(no name)'} {_type(t)}" for t in found[side][:_SHOWN]]
        more = len(found[side]) - len(tensors)
        console.out(f"{side}: {', '.join(tensors) or 'none'}" + (f", and {more} more" * (more > 0)))
    for key, signature in found["signatures"].items():
        names = (", ".join(list(signature[side])[:_SHOWN]) for side in ("inputs", "outputs"))
        console.out(f"signature: {key}: {' -> '.join(names)}")
    total = sum(found["operations"].values())
    graphs = f" in {found['subgraphs']} graphs" if found["subgraphs"] > 1 else ""
    custom = found["custom_operations"] or "none"
    rank = found["highest_rank"]
    console.out(f"operations: {total}{graphs}, custom or Flex: {custom}; highest rank {rank}")
    kinds = (f"{count} {name}" for name, count in found["operations"].items())
    console.out(f"  {', '.join(kinds)}")
    console.out(f"precision: {found['precision']}")
    sizes = found["weights"].items()
    all_bytes = max(1, sum(entry["bytes"] for _, entry in sizes))
    rows = [
        (
            kind,
            console.megabytes(entry["bytes"]),
            f"{entry['bytes'] / all_bytes:.1%}",
            str(entry["tensors"]),
            str(entry["per_channel"]),
        )
        for kind, entry in sizes
    ]
    console.table(("constants", "size", "share", "tensors", "with scales per channel"), rows)
    for name, said in found["metadata"].items():
        console.out(f"metadata: {name}, {said}")


def _print_defects(defects: list[dict[str, Any]]) -> None:
    if not defects:
        console.out("known defects: none of those in docs/tflite.md")
        return
    rows = [
        (
            f"{defect['severity']}: {defect['title']}",
            _where(defect),
            defect["happens"],
            f"{defect['runtimes']} [{defect['evidence']}]",
            ", ".join(thread.rpartition("/")[2] for thread in defect["threads"]) or "none",
            defect["advice"],
        )
        for defect in defects
    ]
    console.table(
        ("known defect", "where", "what happens", "runtimes", "thread", "what to do"),
        rows,
        styles=[_SEVERITIES[defect["severity"]] for defect in defects],
    )


def _where(defect: dict[str, Any]) -> str:
    """ "3 times, first in operation 17 (ADD, blocks.0): (1, 15, 36)"."""
    if defect["operation"] is None:
        return str(defect["detail"])
    place = ", ".join(filter(None, (defect["kind"], defect["block"] or defect["tensor"])))
    graph = f" of graph {defect['subgraph']}" if defect["subgraph"] else ""
    times = "once, in" if defect["count"] == 1 else f"{defect['count']} times, first in"
    detail = f": {defect['detail']}" if defect["detail"] else ""
    return f"{times} operation {defect['operation']}{graph} ({place}){detail}"


def _type(tensor: dict[str, Any]) -> str:
    shape = " x ".join("?" if size < 0 else str(size) for size in tensor["shape"])
    return f"{tensor['type']} {shape or 'scalar'}"
