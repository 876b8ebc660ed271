"""A figure as a picture, and a page from its template."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment
    from matplotlib.figure import Figure


def png_of(figure: Figure) -> bytes:
    """A figure as a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    content = io.BytesIO()
    with warnings.catch_warnings():
        # names of classes and files may be in any script; what the font lacks is drawn as a box
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        FigureCanvasAgg(figure).print_png(content)
    return content.getvalue()


def templates() -> Environment:
    """The templates of pages: what they show is escaped, and a name that is not known an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("vit_convert.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
