"""Scratch folders: what is written beside an output, until it takes the output's place.

A scratch folder lies in the output's folder, so that it is on the same disk, and holds a lock for
as long as its process lives. One that is not locked was left behind by a process that was killed;
the next one that writes into that folder clears it away.

    .vit-convert-XXXXXXXX/new/NAME    what is being written
    .vit-convert-XXXXXXXX/old/NAME    the old output; for a moment only, see renames.replace
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from vit_convert.runtime.renames import rename_new

_PREFIX = ".vit-convert-"
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL)


class Scratch:
    """A scratch folder for an output of that name in that folder.

    Attributes:
        new: where to write.
        old: where the old output may step aside.

    Raises:
        OSError: the folder cannot be written to.
    """

    def __init__(self, folder: Path, name: str) -> None:
        remove_abandoned(folder)
        self.folder, self._lock = _locked_folder(folder)
        self.new = self.folder / "new" / name
        self.old = self.folder / "old" / name
        try:
            self.new.parent.mkdir()
            self.old.parent.mkdir()
        except BaseException:
            self.remove()
            raise

    def remove(self) -> None:
        """Remove the folder, unless the old output is still in it. Twice does no harm."""
        if not os.path.lexists(self.old):
            shutil.rmtree(self.folder, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def remove_abandoned(folder: Path) -> None:
    """Remove the scratch folders of this user whose processes are gone.

    An old output that had stepped aside when its process was killed is put back first.
    """
    try:
        with os.scandir(folder) as entries:
            found = [Path(entry.path) for entry in entries if entry.name.startswith(_PREFIX)]
    except OSError:  # whoever writes there will see
        return
    for scratch in found:
        with suppress(OSError):
            lock = _try_lock(scratch)
            if lock is None:
                continue
            try:
                _put_back(scratch, folder)
                shutil.rmtree(scratch)
            finally:
                os.close(lock)


def _put_back(scratch: Path, folder: Path) -> None:
    """Raises OSError if an old output, whose place is empty, cannot return to it."""
    for old in scratch.glob("old/*"):
        with suppress(FileExistsError):
            rename_new(old, folder / old.name)


def _locked_folder(folder: Path) -> tuple[Path, int | None]:
    """A new folder, and the open file that holds its lock; None where there are no locks.

    Raises:
        OSError: none can be made.
    """
    while True:
        scratch = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=folder))
        try:
            lock = _try_lock(scratch)
        except OSError as error:
            if error.errno in _NO_LOCKS:
                return scratch, None
            if error.errno == errno.ENOENT:
                continue
            shutil.rmtree(scratch, ignore_errors=True)
            raise
        # None: another process took it for abandoned before it was locked, and is removing it
        if lock is not None or sys.platform == "win32":
            return scratch, lock


def _try_lock(scratch: Path) -> int | None:
    """Lock a scratch folder of this user for as long as the file that this gives is open.

    Returns:
        None if another process holds it, or if it is none of this user's folders.

    Raises:
        OSError: it is gone, or nothing can be locked there.
    """
    if sys.platform == "win32":
        return None
    import fcntl

    # No program that this process starts inherits it: Python opens files so.
    lock = os.open(scratch, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if os.fstat(lock).st_uid != os.geteuid():
            os.close(lock)
            return None
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # It may have been removed between opening and locking it.
        if not os.path.samestat(os.fstat(lock), os.lstat(scratch)):
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), str(scratch))
        return lock
    except BlockingIOError:
        os.close(lock)
        return None
    except BaseException:
        os.close(lock)
        raise


def sync(path: Path) -> None:
    """Have a file, or all of a folder, on the disk and not only in memory.

    Raises:
        OSError: as the system says; what was written is not whole.
    """
    mode = path.lstat().st_mode
    if stat.S_ISDIR(mode):
        for child in path.iterdir():
            sync(child)
        sync_folder(path)
    elif stat.S_ISREG(mode):
        with path.open("rb") as file:
            os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk, where the system can do that.

    Raises:
        OSError: as the system says.
    """
    if sys.platform == "win32":
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems sync only files
            raise
    finally:
        os.close(opened)
