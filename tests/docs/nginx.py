"""A real nginx: with a configuration that is shown to users, or with one that knows nothing of us."""

import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Self

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


#: One that was made for pages: it passes no upgrade on, and holds answers back where nobody asks it not to.
_UNAWARE = """
server {{
    listen 127.0.0.1:{port};
    {more}
    location / {{
        proxy_pass http://127.0.0.1:{upstream};
        proxy_set_header Host $http_host;
    }}
}}
"""


class _Nginx:
    """One that runs with a configuration, at ``port``."""

    def __init__(self, folder: Path, port: int, shown: str) -> None:
        self.port = port
        self._folder = folder
        (folder / "nginx.conf").write_text(_AROUND.format(folder=folder, shown=shown))

    def __enter__(self) -> Self:
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


class UnawareNginx(_Nginx):
    """In front of a server at ``upstream``, which it takes for a server of pages; ``more`` are further directives."""

    def __init__(self, folder: Path, upstream: int, more: str = "") -> None:
        port = own_port()
        super().__init__(folder, port, _UNAWARE.format(port=port, upstream=upstream, more=more))


class Nginx(_Nginx):
    """With the configuration ``shown``, less what a test has to have elsewhere: ``places`` say what stands for what."""

    def __init__(self, folder: Path, shown: str, places: dict[str, str]) -> None:
        self.certificate, key = make_certificate(folder)
        port = own_port()
        for there, here in {
            "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
            "/etc/ssl/chat/fullchain.pem": str(self.certificate),
            "/etc/ssl/chat/privkey.pem": str(key),
            **places,
        }.items():
            assert there in shown
            shown = shown.replace(there, here)
        super().__init__(folder, port, shown)

    @classmethod
    def of_the_page(cls, folder: Path, upstream: int) -> Self:
        """In front of a server at ``upstream``, as the page about serving says."""
        [block] = [b for b in all_blocks() if b.language == "nginx"]
        return cls(folder, block.text, {"127.0.0.1:8000": f"127.0.0.1:{upstream}"})
