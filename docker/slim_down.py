"""Removes packages' tests and C sources from the virtual environment that runs this, and compiles the other modules.

The container's file system is read-only and cannot cache bytecode: without this, each start would compile every module.
"""

from __future__ import annotations

import compileall
import shutil
import sysconfig
from pathlib import Path

PACKAGES = Path(sysconfig.get_path("purelib"))
# Folders of test suites. Not `testing`: other packages import `numpy.testing` and the like.
TESTS = ("tests", "onnx/backend/test")
# What compiled modules were made from, and what others would be compiled with.
SOURCES = (".c", ".cc", ".h", ".hpp", ".pxd", ".pyx")


def remove_tests() -> None:
    """Delete the folders that hold test suites."""
    for pattern in TESTS:
        for folder in [path for path in PACKAGES.rglob(pattern) if path.is_dir()]:
            shutil.rmtree(folder, ignore_errors=True)


def remove_sources() -> None:
    """Delete the sources and headers of C, C++ and Cython."""
    for path in [path for path in PACKAGES.rglob("*") if path.suffix in SOURCES and path.is_file()]:
        path.unlink()


if __name__ == "__main__":
    remove_tests()
    remove_sources()
    compileall.compile_dir(PACKAGES, quiet=2)
