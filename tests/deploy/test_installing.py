"""What is installed: with a compiler the native part, without one everything else, and anew where it has changed."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NATIVE = sorted(path.relative_to(ROOT) for path in (ROOT / "src" / "openline").glob("_native*.[ch]"))
COMPILER = shutil.which("cc") or ""

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no native part on Windows")


def wheel_with(compiler: str, folder: Path) -> zipfile.ZipFile:
    """The wheel of a copy of the sources, so that nothing is left of earlier builds."""
    sources = folder / "sources"
    shutil.copytree(ROOT / "src", sources / "src", ignore=shutil.ignore_patterns("*.so", "*.egg-info", "__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, sources)
    build = f"import setuptools.build_meta as b; b.build_wheel({str(folder)!r})"
    environment = {**os.environ, "CC": compiler}
    done = subprocess.run(
        [sys.executable, "-c", build], cwd=sources, env=environment, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    (wheel,) = folder.glob("*.whl")
    return zipfile.ZipFile(wheel)


def modules(wheel: zipfile.ZipFile) -> set[str]:
    return {name for name in wheel.namelist() if name.endswith(".py") and not name.startswith("openline/examples/")}


def test_without_a_compiler_the_wheel_is_for_every_system_and_lacks_the_native_part_alone(tmp_path: Path) -> None:
    with wheel_with("/bin/false", tmp_path) as wheel:
        assert str(wheel.filename).endswith("-py3-none-any.whl")
        names = wheel.namelist()
        assert not [name for name in names if name.endswith((".so", ".c", ".h"))]
        sources = {path.relative_to(ROOT / "src").as_posix() for path in (ROOT / "src" / "openline").rglob("*.py")}
        assert modules(wheel) == {name for name in sources if not name.startswith("openline/examples/")}
        (facts,) = [wheel.read(name).decode() for name in names if name.endswith(".dist-info/WHEEL")]
        assert "Root-Is-Purelib: true" in facts
        wheel.extractall(tmp_path / "installed")
    shown = "import openline, openline.accelerator as a; print(openline.__file__, a.native)"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "installed"), "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop("OPENLINE_PURE", None)
    found = subprocess.run(
        [sys.executable, "-c", shown], cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
    )
    assert found.stdout.split() == [str(tmp_path / "installed" / "openline" / "__init__.py"), "None"]


@pytest.mark.skipif(not COMPILER, reason="there is no compiler")
def test_with_a_compiler_the_wheel_is_for_this_system_and_any_python_from_3_11_on(tmp_path: Path) -> None:
    with wheel_with(COMPILER, tmp_path) as wheel:
        assert "-cp311-abi3-" in str(wheel.filename)
        assert [name for name in wheel.namelist() if name.endswith(".so")] == ["openline/_native.abi3.so"]


@pytest.mark.parametrize("changed", NATIVE, ids=str)
def test_whichever_file_of_the_native_part_changes_it_is_built_anew(changed: Path, tmp_path: Path) -> None:
    (tmp_path / "installed").touch()
    make = ["make", "-n", f"VENV={tmp_path}", "run"]
    plans = [
        subprocess.run([*make, *more], cwd=ROOT, check=True, capture_output=True, text=True).stdout
        for more in ([], ["-W", str(changed)])
    ]
    assert ["setup.sh" in plan for plan in plans] == [False, True]
