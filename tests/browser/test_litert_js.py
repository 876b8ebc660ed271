"""LiteRT.js: where it comes from, and that nothing else than what was pinned is ever taken."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from vit_convert.browser import runtime
from vit_convert.browser.runtime import FILES, registry, runtime_files
from vit_convert.errors import MissingDependencyError

CONTENT = {name: f"what {name} holds".encode() for name in FILES}


def tarball(content: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, data in (content | {"README.md": b"not needed"}).items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return file.getvalue()


GOOD, OTHER = tarball(CONTENT), tarball(CONTENT | {"dist/index.js": b"something else"})


class Registry:
    """An npm registry with one package."""

    def __init__(self, address: str, folder: Path) -> None:
        self.address = address
        self.file = folder / "@litertjs" / "core" / "-" / "core-2.5.3.tgz"
        self.file.parent.mkdir(parents=True)
        self.file.write_bytes(GOOD)


@pytest.fixture(autouse=True)
def pinned(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A small package in the place of the real one, and an empty cache; gives the cache."""
    digest = base64.b64encode(hashlib.sha512(GOOD).digest()).decode()
    monkeypatch.setattr(runtime, "INTEGRITY", f"sha512-{digest}")
    for name, data in CONTENT.items():
        own = base64.b64encode(hashlib.sha256(data).digest()).decode()
        monkeypatch.setitem(FILES, name, own)
    cache = tmp_path / "cache"
    monkeypatch.setenv("VIT_CONVERT_CACHE", str(cache))
    return cache


@pytest.fixture
def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    folder = tmp_path / "registry"
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}"
        monkeypatch.setenv("NPM_CONFIG_REGISTRY", f"{address}/")
        yield Registry(address, folder)
        server.shutdown()


def test_it_is_downloaded_once(npm: Registry, pinned: Path) -> None:
    steps: list[str] = []
    assert runtime_files(progress=lambda step, *_: steps.append(step)) == CONTENT
    assert steps == [f"downloading {npm.address}/@litertjs/core/-/core-2.5.3.tgz"]
    npm.file.unlink()
    assert runtime_files(progress=lambda step, *_: steps.append(step)) == CONTENT
    assert len(steps) == 1
    assert [path.name for path in pinned.iterdir()] == ["litertjs-core-2.5.3.tgz"]


def test_a_damaged_cache_is_downloaded_again(npm: Registry, pinned: Path) -> None:
    runtime_files()
    (cached,) = pinned.iterdir()
    cached.write_bytes(OTHER)
    assert runtime_files() == CONTENT
    assert cached.read_bytes() == GOOD


def test_without_a_cache_it_works_all_the_same(
    npm: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("VIT_CONVERT_CACHE", str(tmp_path / "file" / "cache"))
    steps: list[str] = []
    assert runtime_files(progress=lambda step, *_: steps.append(step)) == CONTENT
    assert "without keeping the download" in steps[-1]


def test_another_content_is_refused_and_not_kept(npm: Registry, pinned: Path) -> None:
    npm.file.write_bytes(OTHER)
    with pytest.raises(MissingDependencyError) as refused:
        runtime_files()
    assert "is not what was pinned" in refused.value.what
    assert runtime.INTEGRITY in refused.value.expected
    assert not pinned.exists()


def test_without_network_it_says_what_to_do(npm: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    npm.file.unlink()
    with pytest.raises(MissingDependencyError, match="cannot be downloaded") as missing:
        runtime_files()
    assert "npm pack @litertjs/core@2.5.3" in missing.value.hint
    assert "--runtime" in missing.value.hint
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", "http://127.0.0.1:9")  # where nobody listens
    with pytest.raises(MissingDependencyError, match="cannot be downloaded"):
        runtime_files()


def test_the_registry_is_npms_and_one_of_the_web(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("NPM_CONFIG_REGISTRY", raising=False)
    monkeypatch.delenv("npm_config_registry", raising=False)
    npm = tmp_path / "npm"
    npm.write_text(
        "#!/bin/sh\n[ \"$*\" = 'config get registry' ] && echo https://mirror.example/npm/\n"
    )
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    assert registry() == "https://mirror.example/npm"
    npm.write_text("#!/bin/sh\nexit 1\n")
    assert registry() == "https://registry.npmjs.org"
    npm.unlink()
    assert registry() == "https://registry.npmjs.org"
    monkeypatch.setenv("npm_config_registry", "https://other.example/")
    assert registry() == "https://other.example"
    monkeypatch.setenv("npm_config_registry", "file:///etc")
    with pytest.raises(MissingDependencyError, match="no address"):
        registry()


def test_the_users_own_tarball_and_folder_will_do(tmp_path: Path) -> None:
    (tmp_path / "core.tgz").write_bytes(GOOD)
    assert runtime_files(tmp_path / "core.tgz") == CONTENT
    for name, data in CONTENT.items():
        path = tmp_path / "core" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    assert runtime_files(tmp_path / "core") == CONTENT
    (tmp_path / "core" / "dist" / "index.js").write_bytes(b"something else")
    with pytest.raises(MissingDependencyError, match="is not the one of"):
        runtime_files(tmp_path / "core")
    (tmp_path / "core" / "dist" / "index.js").unlink()
    with pytest.raises(MissingDependencyError, match="is not there"):
        runtime_files(tmp_path / "core")
    (tmp_path / "core.tgz").write_bytes(OTHER)
    with pytest.raises(MissingDependencyError, match="is not what was pinned"):
        runtime_files(tmp_path / "core.tgz")
    with pytest.raises(MissingDependencyError, match="cannot be read"):
        runtime_files(tmp_path / "nothing.tgz")
