"""torch2keras --config and inspect --config-template."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import Command

from vit_convert.conversion.h5_file import open_keras

GOLDEN = Path(__file__).parent.parent / "goldens" / "dialects" / "transformers-vit-vit"


def test_the_printed_file_gives_the_same_model(command: Command, tmp_path: Path) -> None:
    printed = command("inspect", GOLDEN, "--config-template")
    assert printed.code == 0
    Path("options.toml").write_text(printed.out)
    assert command("torch2keras", GOLDEN, "-o", "one.h5").code == 0
    done = command("torch2keras", GOLDEN, "--config", "options.toml", "-o", "two.h5")
    assert done.code == 0
    assert "assumed" not in done.err
    with open_keras(tmp_path / "one.h5") as (one, _), open_keras(tmp_path / "two.h5") as (two, _):
        assert (one.config, one.preprocessing) == (two.config, two.preprocessing)
        provenance = {**two.source.provenance}
    assert {provenance[name] for name in ("mean", "std", "gelu", "norm_eps")} == {"given"}


def test_the_command_line_counts_more(command: Command) -> None:
    Path("options.toml").write_text('gelu = "tanh"\ncrop_pct = 0.7\n')
    arguments = ("torch2keras", GOLDEN, "--config", "options.toml", "--crop-pct", 0.8)
    assert command(*arguments, "-o", "m.h5").code == 0
    values = json.loads(command("inspect", "m.h5", "--json").out)["values"]
    assert (values["gelu"]["value"], values["crop_pct"]["value"]) == ("tanh", 0.8)


@pytest.mark.parametrize(
    ("option", "says"),
    [
        (("--mean", "123.675,116.28,103.53"), "0.485,0.456,0.406"),
        (("--std", "58.395,57.12,57.375"), "0.229,0.224,0.225"),
        (("--norm-eps", "1"), "1e-6"),
        (("--rotary-base", "1"), "rotary-base"),
        (("--crop-pct", "87.5"), "crop-pct"),
        (("--image-size", "999999"), "16384"),
        (("--num-classes", "99999999"), "1000000"),
        (("--config", "nowhere.toml"), "nowhere.toml"),
        (("--mean", "nan,0.5,0.5"), "between 0 and 1"),
    ],
)
def test_wrong_options_write_nothing(
    option: tuple[str, str], says: str, command: Command, tmp_path: Path
) -> None:
    done = command("torch2keras", GOLDEN, *option, "-o", "m.h5")
    assert done.code == 2
    assert says in done.err
    assert not [*tmp_path.iterdir()]
