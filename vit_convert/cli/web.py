"""vit-convert web."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path

import click

from vit_convert.cli import console, options

_PORT = 8000


@click.command()
@click.argument("model", type=options.PATH)
@click.option(
    "-o",
    "folder",
    type=options.PATH,
    help="The folder to write.  [default: <name>_web; with --serve none is kept]",
)
@click.option(
    "--serve",
    "port",
    type=click.IntRange(0, 65535),
    is_flag=False,
    flag_value=_PORT,
    metavar="[PORT]",
    help=f"Serve the page on this machine until Ctrl-C.  [default port: {_PORT}; 0: any]",
)
@click.option("--labels", type=options.PATH, help="Class names.  [default: the model's]")
@click.option(
    "--sample",
    "samples",
    type=options.PATH,
    multiple=True,
    metavar="IMAGE|DIR",
    help="A picture that the page offers to try; may be repeated.",
)
@click.option(
    "--runtime",
    type=options.PATH,
    metavar="FILE.tgz|DIR",
    help="LiteRT.js, where there is no network: what npm pack gave, or its folder.",
)
@options.force
def web(
    model: Path,
    folder: Path | None,
    port: int | None,
    labels: Path | None,
    samples: tuple[Path, ...],
    runtime: Path | None,
    force: bool,
) -> None:
    """Write a static page that runs a .tflite file in the browser, on WebGPU or WebAssembly.

    The folder holds all that the page needs and can be put on any web server. LiteRT.js, which runs
    the model, is downloaded from the npm registry once, and checked.
    """
    from vit_convert.browser.server import server, url
    from vit_convert.browser.site import web as write
    from vit_convert.labels.names import read_labels

    names = read_labels(labels) if labels else ()
    with ExitStack() as stack:
        target = folder or Path(f"{model.stem}_web")
        if folder is None and port is not None:
            target = Path(stack.enter_context(tempfile.TemporaryDirectory())) / target.name
        listening = stack.enter_context(server(target, port)) if port is not None else None
        with console.progress(f"page of {model.name}") as progress:
            write(
                model,
                target,
                runtime=runtime,
                labels=names,
                samples=samples,
                force=force,
                progress=progress,
            )
        if folder is not None or listening is None:
            console.out(f"{target}: open it with --serve, or put it on a web server")
        if listening is None:
            return
        console.out(f"serving {url(listening)} until Ctrl-C")
        try:
            listening.serve_forever()
        except KeyboardInterrupt:
            console.note("stopped")
