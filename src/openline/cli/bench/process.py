"""The server's processes, as Linux shows them: which they are, CPU time, memory, how many files they may open."""

import os
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from openline.client.socket import is_here
from openline.errors import SettingsError

__all__ = ["Processes", "processes_at", "processes_given"]

_PROC: Final = Path("/proc")
_LISTENING: Final = "0A"
#: The process that keeps the logs for all workers of a server listens at no port.
_ENGINE: Final = "openline.app.engine_process"
_DEFAULT_PORTS: Final = {"ws": 80, "wss": 443}


class Processes:
    """The processes that serve; one that has ended counts no more."""

    def __init__(self, pids: tuple[int, ...]) -> None:
        self.pids = pids

    def cpu_seconds(self) -> float:
        """What all of their threads have used, in user and in kernel mode."""
        return sum(_ticks(pid) for pid in self.pids) / os.sysconf("SC_CLK_TCK")

    def resident_bytes(self) -> int:
        """Their resident memory (VmRSS)."""
        return sum(_kilobytes(pid) for pid in self.pids) * 1024

    def check_descriptors(self, connections: int) -> None:
        """Raise :class:`SettingsError` where no process may open so many."""
        limits = {pid: limit for pid in self.pids if (limit := _descriptors(pid)) is not None}
        if limits and sum(limits.values()) < connections:
            pid = max(limits, key=lambda pid: limits[pid])
            raise SettingsError(
                "connections",
                f"the server (process {pid}) may open {limits[pid]} files, too few for {connections}; "
                f"start it in a shell after ulimit -n {connections + 1000}",
            )


def processes_given(pids: tuple[int, ...]) -> Processes:
    """Those with these numbers; raises :class:`SettingsError` where there is none, or nothing to be seen of it."""
    for pid in pids:
        if not (_PROC / str(pid) / "stat").exists():
            raise SettingsError("pid", f"there is no process {pid} to be seen on this machine (/proc/{pid})")
    return Processes(pids)


def processes_at(url: str) -> Processes | None:
    """Those that listen at ``url``, and the engine process that one of them has started.

    None where that is elsewhere, another user's, or not to be seen.
    """
    parts = urlsplit(url)
    if not is_here(parts.hostname or ""):
        return None
    port = parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)
    sockets = {f"socket:[{inode}]" for inode in _listeners(port)}
    if not sockets:
        return None
    all_pids = _all_pids()
    listening = {pid for pid in all_pids if sockets & _open_files(pid)}
    engines = {pid for pid in all_pids if _parent(pid) in listening and _ENGINE in _words(pid)}
    return Processes(tuple(sorted(listening | engines))) if listening else None


def _listeners(port: int) -> set[str]:
    """The inodes of sockets that listen at a port."""
    found: set[str] = set()
    for name in ("tcp", "tcp6"):
        for row in _read(_PROC / "net" / name).splitlines()[1:]:
            fields = row.split()
            if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                found.add(fields[9])
    return found


def _all_pids() -> list[int]:
    return [int(entry.name) for entry in _PROC.iterdir() if entry.name.isdecimal()]


def _open_files(pid: int) -> set[str]:
    found: set[str] = set()
    try:
        for entry in (_PROC / str(pid) / "fd").iterdir():
            found.add(os.readlink(entry))
    except OSError:  # it has ended, or is another user's
        pass
    return found


def _read(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""


def _words(pid: int) -> list[str]:
    """Its command line."""
    return _read(_PROC / str(pid) / "cmdline").split("\0")


def _stat(pid: int) -> list[str]:
    """What stands behind its name in brackets, which may hold anything (proc(5)); nothing where it has ended."""
    return _read(_PROC / str(pid) / "stat").rpartition(")")[2].split()


def _parent(pid: int) -> int:
    fields = _stat(pid)
    return int(fields[1]) if fields else 0


def _ticks(pid: int) -> int:
    # utime and stime
    fields = _stat(pid)
    return int(fields[11]) + int(fields[12]) if fields else 0


def _kilobytes(pid: int) -> int:
    for row in _read(_PROC / str(pid) / "status").splitlines():
        if row.startswith("VmRSS:"):
            return int(row.split()[1])
    return 0


def _descriptors(pid: int) -> int | None:
    """How many files a process may have open; None where that is not bounded, or not to be seen."""
    for row in _read(_PROC / str(pid) / "limits").splitlines():
        if row.startswith("Max open files"):
            soft = row.removeprefix("Max open files").split()[0]
            return int(soft) if soft.isdecimal() else None
    return None
