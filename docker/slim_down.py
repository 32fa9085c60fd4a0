"""Takes out of the virtual environment that runs this what an image never uses, and compiles the rest.

Modules are compiled here because the container's file system is read-only: there, each start would compile them anew.
"""

from __future__ import annotations

import compileall
import shutil
import sysconfig
from pathlib import Path

PACKAGES = Path(sysconfig.get_path("purelib"))
# Test suites that packages bring along; `numpy.testing` and the like are code that others import.
TESTS = ("tests", "onnx/backend/test")


def remove_tests() -> None:
    """Delete the folders of tests."""
    for pattern in TESTS:
        for folder in [path for path in PACKAGES.rglob(pattern) if path.is_dir()]:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    remove_tests()
    compileall.compile_dir(PACKAGES, quiet=2)
