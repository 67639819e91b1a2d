#!/usr/bin/env python3
"""Builds what the measurements need into bench/build, which git ignores: wsload, limit, and the peers' libraries.

    python bench/build.py                  # the load client, limit, the Node peers
    python bench/build.py --python-peers   # also a virtual environment with the Python peers

What is there and newer than its sources is left alone. Exit status 1 when something could not be built; each line on
stderr then says what is missing and how to get it.
"""

import argparse
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
PEERS = HERE / "peers"
BUILD = HERE / "build"
VENV = BUILD / "venv"

GET_GCC = "install a C compiler (Debian, Ubuntu: apt-get install gcc; Fedora: dnf install gcc)"
GET_NPM = "install Node.js with npm (Debian, Ubuntu: apt-get install nodejs npm; or nodejs.org)"
GET_VENV = "install Python's venv module (Debian, Ubuntu: apt-get install python3-venv)"


class BuildError(Exception):
    """Something could not be built; the text names the remedy."""


def _run(command: list[str], remedy: str) -> None:
    try:
        result = subprocess.run(command, cwd=BUILD, capture_output=True, text=True, check=False)
    except OSError as error:
        raise BuildError(f"cannot run {command[0]} ({error.strerror}): {remedy}") from error
    if result.returncode:
        raise BuildError(f"{command[0]} failed:\n{(result.stderr or result.stdout)[-2000:]}")


def _is_older(target: Path, sources: list[Path]) -> bool:
    return not target.exists() or target.stat().st_mtime < max(source.stat().st_mtime for source in sources)


def _compile(target: str, sources: list[Path], depends: list[Path]) -> None:
    if not _is_older(BUILD / target, sources + depends):
        return
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise BuildError(f"{target}: there is no C compiler: {GET_GCC}")
    flags = ["-O2", "-std=gnu11", "-Wall", "-Wextra"]
    _run([compiler, *flags, "-o", target, *map(str, sources)], GET_GCC)


def build_wsload() -> None:
    folder = HERE / "wsload"
    _compile("wsload", sorted(folder.glob("*.c")), sorted(folder.glob("*.h")))


def build_swarm() -> None:
    folder = HERE / "swarm"
    _compile("swarm", sorted(folder.glob("*.c")), sorted(folder.glob("*.h")))


def build_limit() -> None:
    _compile("limit", [PEERS / "limit.c"], [])


def install_node_peers() -> None:
    wanted, done = PEERS / "package.json", BUILD / "node_modules" / ".package-lock.json"
    if not _is_older(done, [wanted]):
        return
    if shutil.which("npm") is None:
        raise BuildError(f"Node peers (ws, Socket.IO): there is no npm: {GET_NPM}")
    shutil.copyfile(wanted, BUILD / "package.json")
    _run(["npm", "install", "--no-audit", "--no-fund", "--no-package-lock"], GET_NPM)
    done.touch()


def install_python_peers() -> None:
    wanted, done = PEERS / "requirements.txt", VENV / "installed"
    if not _is_older(done, [wanted]):
        return
    _run([sys.executable, "-m", "venv", str(VENV)], GET_VENV)
    _run([str(VENV / "bin" / "pip"), "install", "--quiet", "--requirement", str(wanted)], "see the output of pip")
    done.touch()


def build(*steps: Callable[[], None]) -> list[str]:
    """Do every step, also behind one that fails; returns what went wrong, with the remedies."""
    BUILD.mkdir(exist_ok=True)
    problems = []
    for step in steps:
        try:
            step()
        except BuildError as error:
            problems.append(str(error))
    return problems


def build_for_comparison() -> bool:
    """Build what is missing or old, saying on stderr what went wrong; whether all of it is there."""
    if sys.platform != "linux":
        problems = ["the load client measures through epoll and /proc: it needs Linux"]
    else:
        problems = build(build_wsload, build_limit, install_node_peers)
    _tell(problems)
    return not problems


def build_python_peers() -> bool:
    """Install the Python peers where missing or old, saying on stderr what went wrong; whether they are there."""
    problems = build(install_python_peers)
    _tell(problems)
    return not problems


def can_measure() -> bool:
    return (BUILD / "wsload").exists()


def _tell(problems: list[str]) -> None:
    for problem in problems:
        print(f"build: {problem}", file=sys.stderr)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python-peers", action="store_true", help="also install the Python peers")
    options = parser.parse_args()
    built = build_for_comparison()
    if options.python_peers:
        built = build_python_peers() and built
    return 0 if built else 1


if __name__ == "__main__":
    sys.exit(main())
