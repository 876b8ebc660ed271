"""Reports of `verify` as one self-contained HTML file."""

from vit_convert.reporting.facts import Subject, collect
from vit_convert.reporting.page import page

__all__ = ["Subject", "collect", "page"]
