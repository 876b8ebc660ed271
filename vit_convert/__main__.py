"""python -m vit_convert."""

from vit_convert.cli import main

main()
