"""The report of `verify --report` in a real browser: it fits a phone, and can be read there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from browsing import Browser
from families import small_vit

from vit_convert.conversion.h5_file import write_h5
from vit_convert.exporters import ExportOptions, export
from vit_convert.parity.sources.timm_source import block_outputs
from vit_convert.parity.verify import verify
from vit_convert.reporting import collect, page

LABELS = ("a_name_without_any_place_where_it_could_be_broken", *"bcdefg")

LOOK = """
const shown = [...document.querySelectorAll("body *")].filter((node) => node.checkVisibility());
const width = document.documentElement.clientWidth;
const outside = shown.filter((node) => !node.closest(".scroll")
  && node.getBoundingClientRect().right > width + 0.5).map((node) => node.outerHTML.slice(0, 90));
const parse = (colour) => colour.match(/[\\d.]+/g).map(Number);
const light = (colour) => {
  const [r, g, b] = parse(colour).map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = (node) => {
  for (let each = node; each; each = each.parentElement) {
    const colour = getComputedStyle(each).backgroundColor;
    if (parse(colour)[3] !== 0) return colour;
  }
};
const faint = [];
for (const node of shown) {
  if (![...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim())) continue;
  const style = getComputedStyle(node);
  const pair = [light(node.closest("svg") ? style.fill : style.color), light(behind(node))];
  const contrast = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
  if (contrast < 4.5) faint.push([node.textContent.slice(0, 60), contrast]);
}
const background = light(getComputedStyle(document.body).backgroundColor);
return { scrolls: document.documentElement.scrollWidth, outside, faint, background,
         seen: shown.length };
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of an equal artifact with attention, and of one that differs from its source in a block."""
    folder = tmp_path_factory.mktemp("report")
    family = small_vit()
    write_h5(folder / "vit.h5", replace(family.spec, labels=LABELS), family.tensors())
    (tflite,) = export(folder / "vit.h5", ["tflite"], folder, ExportOptions(attention=True))
    images = family.images(2)
    outputs = block_outputs(family.model, family.spec.block_names(), images)
    blocks = {f"block:{name}": array for name, array in outputs.items()}
    right, wrong = folder / "right.npz", folder / "wrong.npz"
    logits = family.logits(images)
    np.savez(right, images=images, logits=logits, **blocks)
    blocks["block:blocks.1"] = blocks["block:blocks.1"] + 1
    np.savez(wrong, images=images, logits=logits + 1, **blocks)
    subjects = []
    for artifact, reference in ((tflite, right), (folder / "vit.h5", wrong)):
        result = verify(artifact, reference=reference, profile=True)
        subjects.append(collect(result, reference=reference))
    assert [subject.result.passed for subject in subjects] == [True, False]
    path = folder / "report.html"
    path.write_text(page(subjects, f"vit-convert verify {tflite} --reference {right}"))
    return path


@pytest.mark.parametrize("width", [390, 1100])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_all_text_stands_out(
    width: int, scheme: str, report: Path, browser: Browser
) -> None:
    browser.media(prefers_color_scheme=scheme)
    browser.size(width, 800)
    browser.open(report.as_uri(), ready=False)
    found = browser.call(LOOK)
    assert found["seen"] > 200
    assert found["scrolls"] <= width
    assert found["outside"] == []
    assert found["faint"] == []
    assert (found["background"] < 0.1) == (scheme == "dark")
