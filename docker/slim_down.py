"""Removes packages' test suites from the virtual environment that runs this, and compiles the remaining modules.

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


def remove_tests() -> None:
    """Delete the folders that hold test suites."""
    for pattern in TESTS:
        for folder in [path for path in PACKAGES.rglob(pattern) if path.is_dir()]:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    remove_tests()
    compileall.compile_dir(PACKAGES, quiet=2)
