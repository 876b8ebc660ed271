"""LiteRT.js, which runs .tflite files in browsers: fetched from the npm registry, pinned by version
and hash.

It is somebody else's work (Google's, Apache-2.0) and no part of this package. What
`npm pack @litertjs/core@2.5.3` gives is downloaded once, checked against the hash that npm
published, and kept in a cache folder. The one package that it depends on, @litertjs/wasm-utils, is
not needed: the page's own wasm_loader.js does what is asked of it.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import io
import os
import shutil
import subprocess
import tarfile
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from vit_convert.errors import MissingDependencyError, OutputError
from vit_convert.progress import Progress, silent
from vit_convert.runtime.atomic_write import atomic_write

PACKAGE = "@litertjs/core"
VERSION = "2.5.3"
# as `npm view @litertjs/core@2.5.3 dist.integrity` says
INTEGRITY = (
    "sha512-"
    "PlGmbMOq9WitX7FO0jhbdJw9GthatsyuCQXjTt/wJZo0FLaw48q4tz8IwqgqCIkviYGr9OFDL1kCnN4nzWoyJQ=="
)
# What the page takes of the package, and the SHA-256 of each in base64. Which of the four builds a
# browser loads depends on what it can do: relaxed SIMD, threads, JSPI.
FILES = {
    "dist/index.js": "59rMw6Me74kISKc3zLhj3tXwRqa0DD/cBVZJWt612bM=",
    "package.json": "G6axxLJcBhz5eHbkhGvpL43+MS0veNgu4+6Sq0XICYc=",
    "wasm/litert_wasm_compat_internal.js": "TY+JS3iDZU/W6EOXMKpB55zqq30ZGE/E8fCw8aKiyKU=",
    "wasm/litert_wasm_compat_internal.wasm": "UlXIrQbqvb0lIs3r9rIvwQ+vdGJcI6SbngclcM0fpBw=",
    "wasm/litert_wasm_internal.js": "aO+2n3cOP3av82o3feYpyklsExuGrA8PS1kqFUOomOs=",
    "wasm/litert_wasm_internal.wasm": "coDPRHF3SGfjhebDzVPitF4pdbgP6jOP/07zWbCGVhQ=",
    "wasm/litert_wasm_jspi_internal.js": "5oWj7Yb0R8H+uPVBQxlTnF6U0c/A60nDxeaniKb1VBs=",
    "wasm/litert_wasm_jspi_internal.wasm": "oQPhTbJs29qboak2M+WfO/YE0IL6erDDDKcwg44/qmk=",
    "wasm/litert_wasm_threaded_internal.js": "kv56cgxt7tqhGUwBHHmgBepPb8mPUztmHPeQB2CrSEk=",
    "wasm/litert_wasm_threaded_internal.wasm": "teVOyhDwQ0l+35oCGGMycHyuJgxVDX6iKyyuVWaVls8=",
}
_TARBALL = f"litertjs-core-{VERSION}.tgz"  # as `npm pack` calls it
_REGISTRY = "https://registry.npmjs.org"
_SIZE_LIMIT = 2**25  # bytes; the tarball has 12 MB
_TIMEOUT = 60  # seconds without an answer
_EXPECTED = f"{PACKAGE} {VERSION} as npm has it"
_HINT = f"npm pack {PACKAGE}@{VERSION} where there is a network, then --runtime {_TARBALL}"


def runtime_files(given: str | Path | None = None, progress: Progress = silent) -> dict[str, bytes]:
    """The files of LiteRT.js that a page needs.

    Args:
        given: the package as the user has it: npm's tarball, or a folder with its files (such as
            node_modules/@litertjs/core). By default the tarball in the cache, downloaded if there
            is none.
        progress: told of each step as it begins.

    Returns:
        Path within the package -> content, for each of `FILES`.

    Raises:
        MissingDependencyError: it cannot be fetched, is not there, or is not what was pinned.
    """
    if given is None:
        return _unpacked(_cached(progress))
    path = Path(given)
    if path.is_dir():
        return _from_folder(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise MissingDependencyError(
            f"cannot be read: {error.strerror or error}",
            where=str(path),
            expected=f"the tarball or the folder of {PACKAGE} {VERSION}",
            hint=_HINT,
        ) from error
    return _unpacked(_verified(content, str(path)))


def cache_folder() -> Path:
    """The folder for downloads: VIT_CONVERT_CACHE, or vit-convert in the user's cache folder."""
    if own := os.environ.get("VIT_CONVERT_CACHE"):
        return Path(own)
    base = os.environ.get("LOCALAPPDATA" if os.name == "nt" else "XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "vit-convert"


def registry() -> str:
    """The npm registry: NPM_CONFIG_REGISTRY, what npm is configured to, or the public one.

    Raises:
        MissingDependencyError: it is no address of the web.
    """
    # npm takes the name in any case
    chosen = next((v for k, v in os.environ.items() if k.upper() == "NPM_CONFIG_REGISTRY"), "")
    address = (chosen or _configured_registry() or _REGISTRY).rstrip("/")
    if urllib.parse.urlsplit(address).scheme not in ("http", "https"):
        raise MissingDependencyError(
            f"{address!r} is no address of an npm registry",
            where="NPM_CONFIG_REGISTRY" if chosen else "npm config get registry",
            expected=f"one such as {_REGISTRY}",
            hint=_HINT,
        )
    return address


def _configured_registry() -> str:
    npm = shutil.which("npm")
    if npm is None:
        return ""
    command = [npm, "config", "get", "registry"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    answer = done.stdout.strip()
    return answer if done.returncode == 0 and answer != "undefined" else ""


def _cached(progress: Progress) -> bytes:
    """The tarball, from the cache if what lies there is right."""
    path = cache_folder() / _TARBALL
    if path.is_file():
        content = path.read_bytes()
        if _integrity(content) == INTEGRITY:
            return content
    url = f"{registry()}/{PACKAGE}/-/core-{VERSION}.tgz"
    progress(f"downloading {url}")
    content = _verified(_download(url), url)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path, force=True) as scratch:
            scratch.write_bytes(content)
    except (OSError, OutputError) as error:
        progress(f"going on without keeping the download: {error}")
    return content


def _download(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT) as answer:
            return answer.read(_SIZE_LIMIT)
    except (OSError, http.client.HTTPException) as error:  # URLError and HTTPError are OSErrors
        if isinstance(error, urllib.error.HTTPError):
            error.close()  # it holds the connection
        reason = getattr(error, "reason", "") or error
        raise MissingDependencyError(
            f"cannot be downloaded: {reason}", where=url, expected=_EXPECTED, hint=_HINT
        ) from error


def _integrity(content: bytes) -> str:
    """As npm and browsers write it (W3C Subresource Integrity)."""
    return f"sha512-{_base64(hashlib.sha512(content))}"


def _base64(digest: hashlib._Hash) -> str:
    return base64.b64encode(digest.digest()).decode()


def _verified(content: bytes, where: str) -> bytes:
    found = _integrity(content)
    if found != INTEGRITY:
        raise MissingDependencyError(
            f"is not what was pinned: its integrity is {found}",
            where=where,
            expected=f"{_EXPECTED}: {INTEGRITY}",
            hint=_HINT,
        )
    return content


def _unpacked(tarball: bytes) -> dict[str, bytes]:
    """The files of the tarball, whose hash was checked before."""
    with tarfile.open(fileobj=io.BytesIO(tarball), mode="r:gz") as archive:
        members = {name: archive.extractfile(f"package/{name}") for name in FILES}
        return {name: member.read() for name, member in members.items() if member is not None}


def _from_folder(folder: Path) -> dict[str, bytes]:
    files = {}
    for name, digest in FILES.items():
        path = folder / name
        content = path.read_bytes() if path.is_file() else None
        if content is None or _base64(hashlib.sha256(content)) != digest:
            raise MissingDependencyError(
                "is not there" if content is None else f"is not the one of {PACKAGE} {VERSION}",
                where=str(path),
                expected=_EXPECTED,
                hint=_HINT,
            )
        files[name] = content
    return files
