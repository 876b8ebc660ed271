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

NAME = "vit_large_patch14_reg4_dinov2.lvd142m_finetuned_on_all_my_pictures_of_2026_and_of_2027_mix"
LABELS = ("a_name_without_any_place_where_it_could_be_broken", *"bcdefg")

LOOK = """
for (const each of document.querySelectorAll("details")) each.open = true;
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
const lines = (node) => new Set([...node.getClientRects()].map((box) => Math.round(box.top))).size;
const files = [...document.querySelectorAll(".file")]
  .map((node) => [node.textContent, lines(node)]);
const cut = [...document.querySelectorAll("figure svg text")].filter((node) => {
  const box = node.getBoundingClientRect();
  const whole = node.closest("svg").getBoundingClientRect();
  return box.top < whole.top - 1 || box.bottom > whole.bottom + 1
    || box.left < whole.left - 1 || box.right > whole.right + 1;
}).map((node) => node.textContent);
const wide = [...document.querySelectorAll("table")].filter((node) => {
  const card = node.closest(".card");
  const padding = parseFloat(getComputedStyle(card).paddingRight);
  return node.getBoundingClientRect().right > card.getBoundingClientRect().right - padding + 0.5;
}).length;
const background = light(getComputedStyle(document.body).backgroundColor);
return { scrolls: document.documentElement.scrollWidth, outside, faint, background, files, cut,
         client: width, wide, tables: document.querySelectorAll(".scroll table").length,
         seen: shown.length };
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of an equal artifact with attention, of one that differs from its source in a block, and of
    one in float16; of a model with long names."""
    folder = tmp_path_factory.mktemp("report")
    family = small_vit()
    source = replace(family.spec.source, file=f"{NAME}_checkpoint.safetensors")
    h5 = folder / f"{NAME}.h5"
    write_h5(h5, replace(family.spec, labels=LABELS, source=source), family.tensors())
    (tflite,) = export(h5, ["tflite"], folder, ExportOptions(attention=True))
    images = family.images(2)
    outputs = block_outputs(family.model, family.spec.block_names(), images)
    blocks = {f"block:{name}": array for name, array in outputs.items()}
    right, wrong = folder / f"{NAME}_right.npz", folder / "wrong.npz"
    logits = family.logits(images)
    np.savez(right, images=images, logits=logits, **blocks)
    blocks["block:blocks.1"] = blocks["block:blocks.1"] + 1
    np.savez(wrong, images=images, logits=logits + 1, **blocks)
    subjects = []
    for artifact, reference, arithmetic in (
        (tflite, right, "float32"),
        (h5, wrong, "float32"),
        (tflite, right, "float16"),
    ):
        result = verify(artifact, reference=reference, profile=True, arithmetic=arithmetic)
        subjects.append(collect(result, reference=reference))
    assert [subject.result.passed for subject in subjects] == [True, False, True]
    path = folder / "report.html"
    path.write_text(page(subjects, f"vit-convert verify {tflite} --reference {right}"))
    return path


@pytest.mark.parametrize(("width", "height"), [(390, 844), (820, 1180), (1100, 800)])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_all_text_stands_out(
    width: int, height: int, scheme: str, report: Path, browser: Browser
) -> None:
    browser.media(prefers_color_scheme=scheme)
    browser.size(width, height)
    browser.open(report.as_uri(), ready=False)
    found = browser.call(LOOK)
    assert found["seen"] > 200
    assert found["scrolls"] <= found["client"] == width
    assert found["outside"] == []
    assert found["faint"] == []
    assert found["cut"] == []
    assert (found["wide"], found["tables"]) == (0, 0)  # none is cut off, or must be scrolled
    assert len(found["files"]) > 10
    assert [name for name, lines in found["files"] if lines > 4] == []
    assert max(len(name) for name, _ in found["files"]) < len(NAME)
    assert any(name.endswith("_float32.tflite") for name, _ in found["files"])
    assert (found["background"] < 0.1) == (scheme == "dark")
