"""Builds the optional accelerator; everything else about the package stands in pyproject.toml."""

import sys
from glob import glob

from setuptools import Extension, setup

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
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
