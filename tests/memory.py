"""What a process holds of memory, as the system says."""

from pathlib import Path


class Memory:
    """What a process holds, in KB."""

    def __init__(self, pid: int) -> None:
        self._folder = Path(f"/proc/{pid}")

    def begin_peak(self) -> int:
        """Let the peak begin here; what is held now."""
        (self._folder / "clear_refs").write_text("5")
        return self._of("VmRSS")

    @property
    def peak(self) -> int:
        return self._of("VmHWM")

    def _of(self, name: str) -> int:
        (line,) = [each for each in (self._folder / "status").read_text().splitlines() if each.startswith(f"{name}:")]
        return int(line.split()[1])
