"""The native part compiles without a warning, and does nothing undefined, whatever hostile peers send."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from tests.effort import EFFORT

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "openline" / "_native.c"
#: What makes the native part do all that it can do, with peers that wish it ill and descriptors that come and go.
TESTS = (
    "tests/hardening/test_frames_hostile.py",
    "tests/protocol/test_frames.py",
    "tests/protocol/test_websocket.py",
    "tests/protocol/test_native_twins.py",
    "tests/protocol/test_strict_json.py",
    "tests/transports/test_group.py",
    "tests/transports/test_delivery.py",
    "tests/transports/test_listener.py",
    "tests/transports/test_native_memory.py",
    "tests/transports/test_receiver.py",
    "tests/transports/test_socket_transport.py",
    "tests/transports/test_whole_head.py",
    "tests/laws/test_at_once.py",
    "tests/laws/test_descriptors.py",
    "tests/laws/test_slices.py",
)
COMPILER = shutil.which("gcc") or shutil.which("cc") or ""
WARNINGS = ("-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter", f"-I{sysconfig.get_path('include')}")

pytestmark = pytest.mark.skipif(
    not COMPILER or sys.platform == "win32", reason="there is no native part where there is no compiler"
)


def compiled(*options: str) -> None:
    done = subprocess.run([COMPILER, *WARNINGS, *options, str(SOURCE)], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("level", ["-O0", "-O3"])
def test_the_native_part_compiles_without_a_warning(level: str, tmp_path: Path) -> None:
    compiled(level, "-fPIC", "-c", "-o", str(tmp_path / "native.o"))


#: Stands before the system's header: what POSIX has only since 2008 is not to be seen.
WITHOUT_NOSIGNAL = """
#pragma once
#pragma GCC system_header
#define MSG_NOSIGNAL NOT_TO_BE_SEEN
#include_next <sys/socket.h>
#undef MSG_NOSIGNAL
"""


def test_a_system_that_does_not_know_msg_nosignal_has_the_native_part_too(tmp_path: Path) -> None:
    (tmp_path / "sys").mkdir()
    (tmp_path / "sys" / "socket.h").write_text(WITHOUT_NOSIGNAL)
    compiled(f"-I{tmp_path}", "-fPIC", "-c", "-o", str(tmp_path / "native.o"))


@pytest.fixture
def sanitized(tmp_path: Path) -> dict[str, str]:
    """An environment in which openline has a native part that watches itself."""
    runtime = subprocess.run([COMPILER, "-print-file-name=libasan.so"], check=True, capture_output=True, text=True)
    if not Path(runtime.stdout.strip()).is_absolute():
        pytest.skip("the compiler has no address sanitizer")
    package = tmp_path / "openline"
    shutil.copytree(SOURCE.parent, package, ignore=shutil.ignore_patterns("*.so", "__pycache__", "web"))
    flags = ("-O1", "-g", "-fno-omit-frame-pointer", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    compiled(*flags, "-fPIC", "-shared", "-o", str(package / "_native.abi3.so"))
    return {
        **os.environ,
        "LD_PRELOAD": runtime.stdout.strip(),
        "PYTHONMALLOC": "malloc",
        "PYTHONPATH": str(tmp_path),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OPENLINE_PURE": "0",
        # Everything takes several times as long here.
        "OPENLINE_EFFORT": str(EFFORT / 5),
        # Python itself keeps memory until it ends.
        "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1",
    }


@pytest.mark.timeout(600)
def test_the_native_part_does_nothing_undefined(sanitized: dict[str, str], tmp_path: Path) -> None:
    shown = "import openline._native as n; print(n.__file__, 'libasan' in open('/proc/self/maps').read())"
    found = subprocess.run([sys.executable, "-c", shown], check=True, env=sanitized, capture_output=True, text=True)
    assert found.stdout.split() == [str(tmp_path / "openline" / "_native.abi3.so"), "True"]
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--timeout", "500"]
    # What something takes, in time or memory, is no question here, and hundreds of thousands of fragments take long.
    command += ["-k", "not twice_the_bytes and not 300_000", *TESTS]
    done = subprocess.run(command, cwd=ROOT, check=False, env=sanitized, capture_output=True, text=True)
    said = done.stdout + done.stderr
    assert done.returncode == 0, f"{said[:6000]}\n…\n{said[-3000:]}"
