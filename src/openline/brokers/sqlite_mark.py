"""The file beside a store that says who holds it, and up to where its log reached when it was last written.

The lock is the operating system's, so it ends with the process, however that ends. The text in it vouches for the end
of the log: a store that has less than its mark says was rolled back, cut, or copied without all of its files.
"""

import contextlib
import os
import sys
from typing import Final, NamedTuple

from openline.errors import SettingsError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

__all__ = ["Mark", "Vouched", "boot_id"]

_BOOT: Final = "/proc/sys/kernel/random/boot_id"
_LENGTH: Final = 128
#: The byte that is locked, where a lock covers bytes: behind the text, which others may then still read.
_LOCKED_AT: Final = 1024


def boot_id() -> str:
    """What tells one run of the operating system from the next; empty where it does not say."""
    with contextlib.suppress(OSError), open(_BOOT, encoding="ascii") as file:
        return file.read().strip()
    return ""


class Vouched(NamedTuple):
    """What a mark says: in this ``epoch`` the log reached ``stamp``, under the system that was booted as ``boot``."""

    epoch: str
    stamp: int
    boot: str
    pid: str


class Mark:
    """Held from :meth:`take` to :meth:`release`."""

    def __init__(self, descriptor: int, boot: str) -> None:
        self._descriptor = descriptor
        self._boot = boot

    @classmethod
    def take(cls, store: str) -> "Mark":
        """The mark of ``store``, locked; raises :class:`SettingsError` where another process holds it."""
        path = f"{store}-mark"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
        except OSError as error:
            raise SettingsError(
                "engine",
                f"{path} cannot be written ({error.strerror}); the engine needs to write into this folder: "
                "change who may, free some space, or name another (--engine sqlite:PATH, or memory)",
            ) from error
        mark = cls(descriptor, boot_id())
        if not _lock(descriptor):
            holder = mark.read()
            mark.release()
            raise SettingsError(
                "engine",
                f"{store} is in use by {f'process {holder.pid}' if holder else 'another process'}; "
                "one process at a time writes it: stop that one, or name another (--engine sqlite:PATH, or memory)",
            )
        return mark

    def read(self) -> Vouched | None:
        """What it says; None for a new one, or one that cannot be understood."""
        try:
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            epoch, stamp, boot, pid = os.read(self._descriptor, _LENGTH).decode("ascii").split()
            return Vouched(epoch, int(stamp), boot, pid)
        except (OSError, ValueError):
            return None

    def write(self, epoch: str, stamp: int, *, synced: bool = False) -> None:
        """Vouch that the log reaches ``stamp``; ``synced`` waits until the disk has it.

        Raises :class:`OSError`.
        """
        text = f"{epoch} {stamp} {self._boot or '-'} {os.getpid()}".ljust(_LENGTH - 1) + "\n"
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        os.write(self._descriptor, text.encode("ascii"))
        if synced:
            os.fsync(self._descriptor)

    def same_boot(self, vouched: Vouched) -> bool:
        """Whether the operating system has been running since ``vouched`` was written, as far as it says."""
        return bool(self._boot) and vouched.boot == self._boot

    def release(self) -> None:
        """Let others have the store."""
        os.close(self._descriptor)


def _lock(descriptor: int) -> bool:
    try:
        if sys.platform == "win32":
            os.lseek(descriptor, _LOCKED_AT, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
