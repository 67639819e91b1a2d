"""A real nginx with the configuration that the page about serving shows, on ports and with a certificate of a test."""

import shutil
import socket
import subprocess
import time
from pathlib import Path

from tests.docs.blocks import all_blocks
from tests.server import make_certificate, own_port

#: nginx wants these around what the page shows; where it runs as root it would give its rights away.
_AROUND = """
daemon off;
master_process off;
error_log {folder}/error.log info;
pid {folder}/nginx.pid;
events {{}}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {shown}
}}
"""


def command() -> str:
    """Debian has it where only root looks."""
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    assert found is not None, "these tests need nginx (Debian: apt-get install nginx-light)"
    return found


class Nginx:
    """In front of a server at ``upstream``."""

    def __init__(self, folder: Path, upstream: int) -> None:
        [block] = [b for b in all_blocks() if b.language == "nginx"]
        self.certificate, key = make_certificate(folder)
        self.port = own_port()
        shown = block.text
        for there, here in (
            ("listen 443 ssl", f"listen 127.0.0.1:{self.port} ssl"),
            ("/etc/ssl/chat/fullchain.pem", str(self.certificate)),
            ("/etc/ssl/chat/privkey.pem", str(key)),
            ("127.0.0.1:8000", f"127.0.0.1:{upstream}"),
        ):
            assert there in shown
            shown = shown.replace(there, here)
        self._folder = folder
        (folder / "nginx.conf").write_text(_AROUND.format(folder=folder, shown=shown))

    def __enter__(self) -> "Nginx":
        arguments = [command(), "-p", str(self._folder), "-c", str(self._folder / "nginx.conf")]
        with (self._folder / "nginx.txt").open("wb") as output:
            self._process = subprocess.Popen(arguments, stdout=output, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 0.2).close()
            except OSError:
                said = (self._folder / "nginx.txt").read_text()
                assert self._process.poll() is None, said
                assert time.monotonic() < deadline, said
                time.sleep(0.02)
            else:
                return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
