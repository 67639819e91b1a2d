"""Everything that `make test` does: sets up what the tests need, runs every check, and says loudly what could not be.

Only the standard library is used, because this is what installs the rest. What cannot be set up is listed as skipped;
with CI=true in the environment that is a failure. Tests are shared out among several processes, and lint, types, the
web's tests and some on the pure-Python twins run beside them; what measures runs at the end, when nothing else does.
"""

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
CI = os.environ.get("CI", "").lower() in ("1", "true", "yes")
PYTEST = (sys.executable, "-m", "pytest", "-q", "-m")
#: Checks that run beside the tests.
BESIDE = ("lint", "web", "pure")
#: What runs on the pure-Python twins, too: where the native part has a say, and what a user sees of it.
PURE = (
    "tests/protocol/test_autobahn_cases.py",
    "tests/protocol/test_frames.py",
    "tests/protocol/test_json_batches.py",
    "tests/protocol/test_json_codec.py",
    "tests/protocol/test_native_twins.py",
    "tests/protocol/test_strict_json.py",
    "tests/protocol/test_websocket.py",
    "tests/hardening/test_frames_hostile.py",
    "tests/transports",
    "tests/laws/test_descriptors.py",
    "tests/laws/test_slices.py",
    "tests/doors",
    "tests/hosting/test_coming_and_going.py",
    "tests/hosting/test_pipelined.py",
    "tests/hosting/test_slow_clients.py",
)
#: Everything runs on them.
ALL_PURE = os.environ.get("OPENLINE_PURE", "0") not in ("", "0")
#: By the mark of the tests that start them: the command, and the Debian package that has it.
DAEMONS = {
    "nginx": ("nginx", "nginx-light"),
    "haproxy": ("haproxy", "haproxy"),
    "redis": ("redis-server", "redis-server"),
    "systemd": ("systemd-analyze", "systemd"),
}
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


@dataclass
class Report:
    """What was run, how it ended, and what was skipped and why."""

    ended: list[tuple[str, bool, float]] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    def run(self, name: str, command: Sequence[str], **environment: str) -> None:
        """Run one check beside others: what it says is shown when it has ended, and only if it failed."""
        self._begin(name, command)
        begun = time.monotonic()
        known = {**os.environ, **environment}
        done = subprocess.run(
            command, cwd=ROOT, env=known, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._end(name, done.returncode == 0, time.monotonic() - begun, "" if done.returncode == 0 else done.stdout)

    def watch(self, name: str, command: Sequence[str]) -> None:
        """Run one check with its output in view."""
        self._begin(name, command)
        begun = time.monotonic()
        done = subprocess.run(command, cwd=ROOT, check=False)
        self._end(name, done.returncode == 0, time.monotonic() - begun)

    @staticmethod
    def _begin(name: str, command: Sequence[str]) -> None:
        shown = " ".join(Path(part).name if part.startswith("/") else part for part in command)
        print(f"\n== {name}: {shown}", flush=True)

    def _end(self, name: str, good: bool, seconds: float, said: str = "") -> None:
        self.ended.append((name, good, seconds))
        print(f"\n== {name}: {'ok' if good else 'FAILED'} ({seconds:.0f} s)\n{said}".rstrip(), flush=True)

    def close(self) -> int:
        """Print the summary; the exit status."""
        print("\n== summary")
        for name, good, seconds in self.ended:
            print(f"  {'ok    ' if good else 'FAILED'} {name} ({seconds:.0f} s)")
        for reason in self.skipped:
            print(f"  SKIPPED {reason}")
        failed = not all(good for _, good, _ in self.ended) or (CI and bool(self.skipped))
        if self.skipped:
            print("  Skipped checks are failures here (CI=true)." if CI else "  The skipped checks were NOT run.")
        return int(failed)


def tool(name: str) -> str:
    """A command of the virtual environment."""
    return str(BIN / name)


def quietly(*command: str) -> bool:
    """Run a step of the setup; its output is shown only when it fails."""
    print(f"setting up: {' '.join(command[:6])} …", flush=True)
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    if done.returncode:
        print((done.stdout + done.stderr)[-3000:])
    return done.returncode == 0


def set_up_python() -> bool:
    """The packages that the tests need, in this virtual environment."""
    stamp = BIN.parent / "installed-for-tests"
    if stamp.exists() and stamp.stat().st_mtime > (ROOT / "pyproject.toml").stat().st_mtime:
        return True
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--editable", ".[test]")
    good = quietly(*pip)
    if good:
        stamp.touch()
    return good


@cache
def set_up_node() -> bool:
    """The packages that the browser SDK's tests need, and others that speak with clients in Node."""
    if shutil.which("npm") is None:
        return False
    stamp = ROOT / "node_modules" / ".installed"
    if stamp.exists() and stamp.stat().st_mtime > (ROOT / "package.json").stat().st_mtime:
        return True
    good = quietly("npm", "install", "--no-audit", "--no-fund", "--loglevel=error") and quietly("sh", "fetch_client.sh")
    if good:
        stamp.touch()
    return good


def set_up_chromium() -> bool:
    """A real browser, from Debian's packages when root."""
    if any(map(shutil.which, CHROMIUM)):
        return True
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        return False
    install = ("apt-get", "install", "--yes", "--no-install-recommends", "chromium")
    return quietly("apt-get", "update") and quietly(*install)


def set_up_daemon(command: str, package: str) -> bool:
    """What the pages about serving and deploying name, from Debian's packages when root."""
    if shutil.which(command) or shutil.which(command, path="/usr/sbin:/usr/local/sbin"):
        return True
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        return False
    install = ("apt-get", "install", "--yes", "--no-install-recommends", package)
    return quietly("apt-get", "update") and quietly(*install)


def set_up_namespaces() -> bool:
    """Networks of their own for servers, whose lines can be cut: whether this machine lets us make them."""
    if os.geteuid() != 0 or not (set_up_daemon("ip", "iproute2") and set_up_daemon("nft", "nftables")):
        return False
    name = f"openline-{os.getpid()}"
    return quietly("ip", "netns", "add", name) and quietly("ip", "netns", "del", name)


def lint(report: Report) -> None:
    """Style, types, and which floor may import which."""
    report.run("lint", [tool("ruff"), "check"])
    report.run("format", [tool("ruff"), "format", "--check"])
    report.run("types (mypy)", [tool("mypy")])
    if shutil.which("node"):
        report.run("types (pyright)", [tool("pyright")])
    else:
        report.skipped.append("types (pyright): needs Node.js")
    report.run("import contracts", [tool("lint-imports")])


def web(report: Report) -> None:
    """The browser SDK and the pages: types, and tests in Node."""
    if set_up_node():
        report.run("web types", ["npm", "run", "--silent", "check:web"])
        report.run("web tests", ["npm", "run", "--silent", "test:web"])
    else:
        report.skipped.append("web types and tests: need Node.js 20 and npm (Debian: apt-get install nodejs npm)")


def pure(report: Report) -> None:
    """What the native part has a say in, on its pure-Python twins; what is random a few times."""
    if ALL_PURE:
        return
    command = [*PYTEST, "not alone", "-p", "no:cacheprovider", *PURE]
    report.run("tests on the pure twins", command, OPENLINE_PURE="1", OPENLINE_EFFORT="0.2")


def python(report: Report) -> None:
    """Unit, property and end-to-end tests, and those in a browser; then those that have to be alone."""
    without = ["not alone"]
    if not set_up_chromium():
        without.append("not browser")
        report.skipped.append("tests in a browser: need chromium (Debian, as root: apt-get install chromium)")
    for mark, (command, package) in DAEMONS.items():
        if not set_up_daemon(command, package):
            without.append(f"not {mark}")
            report.skipped.append(f"tests with {mark}: need it (Debian, as root: apt-get install {package})")
    if not set_up_namespaces():
        without.append("not netns")
        report.skipped.append("tests of partitions: need root, iproute2, nftables, and to be allowed namespaces")
    # Many tests wait for something most of the time, so there are more processes than cores.
    processes = (os.cpu_count() or 1) * 3 // 2 + 1
    report.watch("tests", [*PYTEST, " and ".join(without), *shared(processes)])


def shared(processes: int) -> list[str]:
    """Each process takes one module after the other, so that what a module's tests share is made once."""
    return ["-n", str(processes), "--dist", "loadscope", "--no-loadscope-reorder"]


def alone(report: Report) -> None:
    """The tests that measure time or memory."""
    report.watch("tests that run alone", [*PYTEST, "alone"])


def fuzz(report: Report) -> None:
    """Everything that is random, as often as OPENLINE_EFFORT says."""
    print(f"Everything random is tried {os.environ.get('OPENLINE_EFFORT', '1')} times as often as in `make test`.")
    report.watch("fuzz", [*PYTEST, "random", "--timeout", "0", *shared(os.cpu_count() or 1)])


def main() -> int:
    """Run the checks named on the command line; all but fuzz without a name."""
    report = Report()
    checks: dict[str, Callable[[Report], None]] = {
        "lint": lint, "web": web, "pure": pure, "python": python, "alone": alone, "fuzz": fuzz
    }  # fmt: skip
    wanted = sys.argv[1:] or [name for name in checks if name != "fuzz"]
    if wanted == ["packages"]:  # for what is no check, and needs them all the same
        return 0 if set_up_python() else 1
    unknown = [name for name in wanted if name not in checks]
    if unknown:
        print(f"There is no check {unknown[0]!r}; there are: {', '.join(checks)}", file=sys.stderr)
        return 2
    if not set_up_python():
        print("The Python packages of the tests could not be installed; see above.", file=sys.stderr)
        return 1
    if {"web", "python"} & set(wanted):
        set_up_node()
    if ALL_PURE:
        print("Everything runs on the pure-Python twins of the native part (OPENLINE_PURE).")
    beside = threading.Thread(target=lambda: [checks[name](report) for name in wanted if name in BESIDE])
    beside.start()
    if "python" in wanted:
        python(report)
    beside.join()
    for name in ("alone", "fuzz"):
        if name in wanted:
            checks[name](report)
    return report.close()


if __name__ == "__main__":
    sys.exit(main())
