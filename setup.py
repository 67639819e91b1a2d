"""Builds the optional accelerator; everything else about the package stands in pyproject.toml."""

import os
import sys
from glob import glob

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext


class BuildIfPossible(build_ext):
    """What could not be built is no part of what is installed."""

    def build_extensions(self) -> None:
        """Build them; forget those that failed."""
        super().build_extensions()
        built = [each for each in self.extensions if os.path.exists(self.get_ext_fullpath(each.name))]
        self.distribution.ext_modules = built


class WheelOfWhatWasBuilt(bdist_wheel):
    """A wheel without the native part is for every system, and its name says so."""

    def run(self) -> None:
        """Build, and only then judge what it is."""
        self.run_command("build")
        self.root_is_pure = not self.distribution.has_ext_modules()
        super().run()


# With a compiler that fails, or without one, the package installs all the same and uses its pure-Python twins.
native = Extension(
    "openline._native",
    sources=["src/openline/_native.c"],
    depends=sorted(glob("src/openline/_native_*.h")),
    extra_compile_args=["-O2", "-Wall", "-Wextra", "-Wno-unused-parameter"],
    py_limited_api=True,
    optional=True,
)

setup(
    ext_modules=[] if sys.platform == "win32" else [native],
    cmdclass={"build_ext": BuildIfPossible, "bdist_wheel": WheelOfWhatWasBuilt},
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
