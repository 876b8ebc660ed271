"""Pictures that were made to hang, to fill the memory, or to run something."""

from __future__ import annotations

import io
import json
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from vit_convert.images.decoding import ImageError, load_image
from vit_convert.runtime.limits import IMAGE_BYTES, IMAGE_FILE_BYTES

SECONDS, MEGABYTES = 5, 512
# Decodes pictures, each in a fork of a process that has imported all it needs, and tells of each
# how it ended, the seconds of computing, the megabytes, and what was opened or started.
WORK = """
import json, os, resource, sys, time
from PIL import Image
from vit_convert.architectures.base import Preprocessing
from vit_convert.images.decoding import ImageError, load_image
from vit_convert.images.preprocessing import preprocess

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

def decode(path):
    touched = []
    def watch(event, arguments):
        if event in ("open", "os.system", "os.exec", "subprocess.Popen", "os.posix_spawn"):
            touched.append([event, str(arguments[0])])
    sys.addaudithook(watch)
    before = peak()
    try:
        preprocess(load_image(path), (224, 224), Preprocessing())
        ending = "decoded"
    except ImageError as error:
        ending = str(error)
    print(json.dumps([ending, time.process_time(), peak() - before, touched]), flush=True)
    os._exit(0)

try: load_image("nowhere")
except ImageError: pass
Image.preinit()
for path in sys.argv[1:]:
    if os.fork() == 0:
        decode(path)
    assert os.wait()[1] == 0
"""


def png(width: int, height: int, depth: int, colour: int, *more: bytes) -> bytes:
    """A PNG of nothing but zeros, which pack 1000 to 1."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    row = bytes(1 + (width * depth * channels + 7) // 8)
    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    palette = [(b"PLTE", bytes(768))] if colour == 3 else []
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)),
        *palette,
        *((chunk[:4], chunk[4:]) for chunk in more),
        (b"IDAT", data),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in parts
    )


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def many_scans() -> bytes:
    """A progressive JPEG whose last scan is there 3,000 times."""
    whole = encoded(Image.new("L", (4000, 4000), 77), "JPEG", progressive=True)
    last = whole[whole.rindex(b"\xff\xda") : -2]
    return whole[:-2] + 3000 * last + whole[-2:]


def gif(width: int, height: int) -> bytes:
    """A GIF whose size is a lie."""
    whole = bytearray(encoded(Image.new("P", (8, 8)), "GIF"))
    struct.pack_into("<HH", whole, 6, width, height)
    return bytes(whole)


def bmp(width: int, height: int, bits: int) -> bytes:
    """The head of a BMP without its pixels."""
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + header


def tiff(width: int, height: int) -> bytes:
    """A TIFF that packs zeros."""
    image = Image.new("L", (width, height))
    return encoded(image, "TIFF", compression="tiff_deflate")


EPS = (
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(%pipe%id) (w) file\n%%EOF\n"
)
BOMBS: dict[str, tuple[Callable[[], bytes], str]] = {
    "16-bit grey, 170 megapixels": (lambda: png(13_000, 13_000, 16, 0), "image_bytes"),
    "16-bit grey within the limit": (lambda: png(5_000, 5_500, 16, 0), "decoded"),
    "1 bit, 400 megapixels": (lambda: png(20_000, 20_000, 1, 0), "image_bytes"),
    "palette": (lambda: png(10_000, 9_000, 8, 3), "image_bytes"),
    "grey within the limit": (lambda: png(7_000, 7_000, 8, 0), "decoded"),
    "RGB": (lambda: png(8_000, 8_000, 8, 2), "image_bytes"),
    "RGB within the limit": (lambda: png(5_700, 5_700, 8, 2), "decoded"),
    "RGBA": (lambda: png(8_000, 8_000, 8, 6), "image_bytes"),
    "16-bit RGBA within the limit": (lambda: png(5_000, 5_000, 16, 6), "decoded"),
    "grey and alpha": (lambda: png(9_000, 9_000, 8, 4), "image_bytes"),
    "text that unpacks": (
        lambda: png(9, 9, 8, 0, b"zTXta\0\0" + zlib.compress(bytes(60 << 20), 9)),
        "truncated or damaged",
    ),
    "colour profile that unpacks": (
        lambda: png(9, 9, 8, 0, b"iCCPa\0\0" + zlib.compress(bytes(60 << 20), 9)),
        "truncated or damaged",
    ),
    "JPEG": (lambda: encoded(Image.new("RGB", (9_500, 9_500)), "JPEG"), "image_bytes"),
    "JPEG of 3,000 scans": (many_scans, "image_scans"),
    "WebP": (lambda: encoded(Image.new("RGB", (9_000, 9_000)), "WEBP", method=0), "image_bytes"),
    "GIF": (lambda: gif(13_000, 13_000), "image_bytes"),
    "GIF beyond Pillow": (lambda: gif(65_535, 65_535), "image_bytes"),
    "BMP": (lambda: bmp(30_000, 30_000, 8), "image_bytes"),
    "BMP upside down": (lambda: bmp(9_000, -9_000, 24), "image_bytes"),
    "PPM": (lambda: b"P6 30000 30000 255\n", "image_bytes"),
    "PGM of 16 bits": (lambda: b"P5 9000 9000 65535\n" + bytes(100), "image_bytes"),
    "TIFF": (lambda: tiff(12_000, 12_000), "image_bytes"),
    "a line": (lambda: png(2_000_000, 1, 8, 0), "too long and thin"),
    "EPS": (lambda: EPS, "is not a picture"),
    "PSD": (lambda: b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 9, 9, 8, 3), "not a picture"),
    "an icon": (lambda: encoded(Image.new("RGBA", (32, 32)), "ICO"), "is not a picture"),
    "FITS": (lambda: b"SIMPLE  =                    T".ljust(2880), "is not a picture"),
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, float, float, list]]:
    """What became of each picture."""
    folder = tmp_path_factory.mktemp("bombs")
    for i, (make, _) in enumerate(BOMBS.values()):
        (folder / f"{i}.png").write_bytes(make())
    done = subprocess.run(
        [sys.executable, "-c", WORK, *(f"{i}.png" for i in range(len(BOMBS)))],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.stderr == ""  # no warning of Pillow's
    return dict(zip(BOMBS, map(json.loads, done.stdout.splitlines()), strict=True))


@pytest.mark.parametrize("name", BOMBS)
def test_a_picture_takes_bounded_time_and_memory_and_opens_nothing_else(
    name: str, outcomes: dict[str, tuple[str, float, float, list]]
) -> None:
    ending, seconds, megabytes, touched = outcomes[name]
    assert BOMBS[name][1] in ending
    assert seconds < SECONDS
    assert megabytes < MEGABYTES
    assert touched[0] == ["open", f"{[*BOMBS].index(name)}.png"]
    # the descriptor of that file, and modules
    places = tuple(filter(None, sys.path))
    assert [t for t in touched[1:] if not (t[1].isdigit() or t[1].startswith(places))] == []


def test_a_pipe_a_device_and_a_socket_are_no_pictures(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    for name, kind in (("pipe.png", "a pipe"), ("zero.png", "a device")):
        with pytest.raises(ImageError, match=f"cannot be read: is {kind}, not a regular file"):
            load_image(tmp_path / name)


def test_an_enormous_file_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "picture.webp").open("wb") as file:
        file.write(encoded(Image.new("RGB", (9, 9)), "WEBP"))
        file.truncate(20 << 30)
    with pytest.raises(ImageError, match=f"limit `{IMAGE_FILE_BYTES.name}`"):
        load_image(tmp_path / "picture.webp")


def test_the_owner_of_a_large_picture_raises_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(png(7_000, 6_500, 8, 2))
    with pytest.raises(ImageError, match=f"VIT_CONVERT_LIMITS={IMAGE_BYTES.name}="):
        load_image(path)
    monkeypatch.setenv("VIT_CONVERT_LIMITS", f"{IMAGE_BYTES.name}=1e9")
    assert load_image(path).size == (7_000, 6_500)


@pytest.mark.parametrize("megapixels", [12, 48, 108])
def test_photographs_of_the_largest_cameras_are_within_the_limits(megapixels: int) -> None:
    """At a tenth of a byte for each pixel, where cameras take two to five times as much."""
    pixels = megapixels * 1_000_000
    IMAGE_BYTES.check(8 * pixels, "a photograph", pixels // 10, ImageError)


def test_a_photograph_of_two_frames_is_a_jpeg(tmp_path: Path) -> None:
    """Phones write such files (MPO); Pillow gives them another name."""
    image = Image.effect_noise((64, 48), 50).convert("RGB")
    image.save(tmp_path / "picture.jpg", "MPO", save_all=True, append_images=[image])
    with Image.open(tmp_path / "picture.jpg") as theirs:
        assert theirs.format == "MPO"
    assert load_image(tmp_path / "picture.jpg").size == (64, 48)
