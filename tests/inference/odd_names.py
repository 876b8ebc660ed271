"""Names of pictures that are trouble in CSV, on terminals, in addresses and in UTF-8."""

from __future__ import annotations

ODD_NAMES = (
    "a,b.png",
    'quo"te.png',
    "new\nline.png",
    "escape\x1b[31m.png",
    "sp ace.png",
    "ünï%20cödé.png",
    "not-text-\udcff.png",
)
