"""A real HAProxy with the configuration of ``deploy/``, on ports and with a certificate of a test."""

import shutil
import socket
import subprocess
import time
from pathlib import Path

from tests.server import make_certificate, own_port

__all__ = ["HaProxy"]


def command() -> str:
    """Debian has it where only root looks."""
    found = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin")
    assert found is not None, "these tests need haproxy (Debian: apt-get install haproxy)"
    return found


class HaProxy:
    """With the configuration ``shown``; ``places`` say what stands for what."""

    def __init__(self, folder: Path, shown: str, places: dict[str, str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.certificate, key = make_certificate(folder)
        both = folder / "both.pem"
        both.write_text(self.certificate.read_text() + key.read_text())
        self.port = own_port()
        for there, here in {
            "bind :443": f"bind 127.0.0.1:{self.port}",
            "/etc/haproxy/chat.pem": str(both),
            "maxconn 20000": "maxconn 1000",
            **places,
        }.items():
            assert there in shown, there
            shown = shown.replace(there, here)
        self._file = folder / "haproxy.cfg"
        self._file.write_text(shown)
        self._said = folder / "haproxy.txt"

    def __enter__(self) -> "HaProxy":
        checked = subprocess.run([command(), "-c", "-f", self._file], check=False, capture_output=True, text=True)
        assert checked.returncode == 0, checked.stdout + checked.stderr
        assert "WARNING" not in checked.stderr, checked.stderr
        with self._said.open("wb") as output:
            self._process = subprocess.Popen([command(), "-db", "-f", self._file], stdout=output, stderr=output)
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 0.2).close()
            except OSError:
                assert self._process.poll() is None, self._said.read_text()
                assert time.monotonic() < deadline, self._said.read_text()
                time.sleep(0.02)
            else:
                return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
