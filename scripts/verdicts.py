#!/usr/bin/env python3
"""One table of what `vit-convert verify --json` said; exits with 1 unless all passed.

python scripts/verdicts.py FILE.json...
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from vit_convert.cli import console
from vit_convert.parity.report import columns, row_of_dict


def main() -> None:
    results = [json.loads(Path(name).read_text()) for name in sys.argv[1:]]
    console.table(columns(), [row_of_dict(result) for result in results])
    sys.exit(0 if results and all(result["passed"] for result in results) else 1)


if __name__ == "__main__":
    main()
