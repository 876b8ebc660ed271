import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

Open = Callable[..., Path]


@pytest.fixture
def torch_zip(tmp_path: Path) -> Open:
    """A torch zip file around a pickle and raw storages."""

    def write(content: bytes, storages: dict[str, bytes] | None = None, method: int = 0) -> Path:
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", method) as archive:
            archive.writestr("archive/data.pkl", content)
            for key, data in (storages or {}).items():
                archive.writestr(f"archive/data/{key}", data)
        (tmp_path / "hostile.pth").write_bytes(file.getvalue())
        return tmp_path / "hostile.pth"

    return write
