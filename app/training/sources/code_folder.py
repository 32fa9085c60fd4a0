"""`--code DIR`: the Python modules of a model's own, as the files of its version."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

from app.errors import DataRefused
from app.inference.own_code import file_name

_MOST_FILES, _MOST_BYTES = 200, 4 * 1024**2
_LONGEST_NAME = 120
_SKIPPED = ("__pycache__", "node_modules", "site-packages")


def code_files(folder: Path) -> dict[str, bytes]:
    """The modules below `folder`, which is what a path entry of Python's would be; other files are left out.

    Raises `DataRefused` for a module with the name of an installed one, for too many files, and for sources that are
    not Python.
    """
    if not folder.is_dir():
        raise DataRefused(f"--code: there is no folder {folder}")
    files: dict[str, bytes] = {}
    for path in _sources(folder):
        module = ".".join(path.relative_to(folder).with_suffix("").parts)
        source = path.read_bytes()
        _require_python(source, path)
        if len(module) > _LONGEST_NAME or not module.isascii():
            raise DataRefused(f"--code: the module name {module} is too long or not ASCII: rename it")
        files[file_name(module)] = source
        if len(files) > _MOST_FILES or sum(map(len, files.values())) > _MOST_BYTES:
            raise DataRefused(
                f"--code: {folder} has more than {_MOST_FILES} modules or {_MOST_BYTES // 1024**2} MiB of them: pass a "
                "folder with only those that the model needs"
            )
    if not files:
        raise DataRefused(f"--code: there is no Python module in {folder}")
    for name in sorted({path.relative_to(folder).parts[0].removesuffix(".py") for path in _sources(folder)}):
        _require_own(name, folder)
    return files


def _sources(folder: Path) -> list[Path]:
    """Its modules and those of its packages: what cannot be imported by a name is left out, and so are links."""
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name.isidentifier() and name not in _SKIPPED)
        paths = [Path(place) / name for name in sorted(names) if name.endswith(".py")]
        found += [path for path in paths if path.stem.isidentifier() and not path.is_symlink()]
    return found


def _require_python(source: bytes, path: Path) -> None:
    try:
        compile(source, str(path), "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        raise DataRefused(f"--code: {path} is not Python of this release: {error}") from error


def _require_own(name: str, folder: Path) -> None:
    """Raise `DataRefused` for a module that would hide one of Python's, of an installed package or of Bakeoff."""
    if name not in sys.stdlib_module_names and name != "app":
        try:
            spec = importlib.util.find_spec(name)
        except (ImportError, ValueError):
            spec = None
        origin = None if spec is None else spec.origin
        # The folder itself may be on the path, and a folder without __init__.py is no module that is installed.
        if origin is None or Path(origin).resolve().is_relative_to(folder.resolve()):
            return
    raise DataRefused(
        f"--code: {name} in {folder} has the name of an installed module: rename it, fit and save the model again"
    )
