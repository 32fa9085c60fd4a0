"""The modules of a version's own: Python sources in its folder, imported for this version alone.

Two versions may have modules of one name with different contents. Each version therefore gets module objects of its
own, made from the verified bytes. They stand in `sys.modules` only while the version's code imports something.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import importlib.util
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

PREFIX, SUFFIX = "code-", ".py"
# `sys.modules` belongs to the process: one version at a time has its modules in it.
_LOCK = threading.RLock()


def file_name(module: str) -> str:
    """The name under which a version keeps the source of a module, such as `code-pkg.features.py`."""
    return f"{PREFIX}{module}{SUFFIX}"


def code_of(files: Mapping[str, bytes]) -> OwnCode:
    """The modules among a version's files. Nothing is imported yet."""
    return OwnCode(
        {
            name.removeprefix(PREFIX).removesuffix(SUFFIX): source
            for name, source in files.items()
            if name.startswith(PREFIX) and name.endswith(SUFFIX)
        }
    )


def _package(scope: Any) -> str:
    """The package that a relative import of a module with these globals starts from."""
    return str(scope["__package__"])


class OwnCode(MetaPathFinder, Loader):
    """Imports modules from `sources`: their bytes by dotted name, a package's under `package.__init__`."""

    def __init__(self, sources: Mapping[str, bytes]) -> None:
        self.sources = dict(sources)
        self.names = frozenset(name.partition(".")[0] for name in sources)
        self._modules: dict[str, ModuleType] = {}
        self._installed = False
        self._builtins = {**vars(builtins), "__import__": self._import}

    @contextmanager
    def importable(self) -> Iterator[None]:
        """Inside, imports of these names give this version's modules; afterwards all is as it was before."""
        if not self.sources:
            yield
            return
        with _LOCK:
            if self._installed:  # one of these modules imports another: both belong to the block around
                yield
                return
            hidden = self._taken_out()
            self._installed = True
            sys.modules.update(self._modules)
            sys.meta_path.insert(0, self)
            try:
                yield
            finally:
                self._installed = False
                sys.meta_path.remove(self)
                self._modules = self._taken_out()
                sys.modules.update(hidden)

    def imported(self) -> set[str]:
        """The top-level modules that the sources import. Raises `SyntaxError`."""
        found = set()
        for name, source in self.sources.items():
            for node in ast.walk(ast.parse(source, file_name(name))):
                if isinstance(node, ast.Import):
                    found |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    found.add(node.module.partition(".")[0])
        return found

    def find_spec(self, fullname: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """The spec of one of these modules; None for every other."""
        del path, target
        if fullname in self.sources:
            return importlib.util.spec_from_loader(fullname, self, origin=file_name(fullname))
        package = f"{fullname}.__init__"
        if package in self.sources:
            return importlib.util.spec_from_loader(fullname, self, origin=file_name(package), is_package=True)
        # A folder without __init__.py is a package too.
        if any(name.startswith(f"{fullname}.") for name in self.sources):
            return ModuleSpec(fullname, None, is_package=True)
        return None

    def create_module(self, spec: ModuleSpec) -> None:
        """None: the import system makes the module."""

    def exec_module(self, module: ModuleType) -> None:
        """Run the module's source. Raises whatever it raises."""
        name = module.__name__
        name = name if name in self.sources else f"{name}.__init__"
        # Its import statements, also those that run in a prediction, go through `_import`.
        vars(module)["__builtins__"] = self._builtins
        exec(compile(self.sources[name], file_name(name), "exec"), vars(module))  # noqa: S102 # nosec B102 - signed

    def _taken_out(self) -> dict[str, ModuleType]:
        """Remove the modules of these names from `sys.modules`, and give them."""
        own = [name for name in sys.modules if name.partition(".")[0] in self.names]
        return {name: sys.modules.pop(name) for name in own}

    def _import(
        self, name: str, scope: Any = None, local: Any = None, fromlist: Any = (), level: int = 0
    ) -> ModuleType:
        if level == 0 and name.partition(".")[0] not in self.names:
            return builtins.__import__(name, scope, local, fromlist, level)
        # A prediction that imports comes here each time: most often all that it wants was imported before.
        known = self._modules.get(importlib.util.resolve_name("." * level + name, _package(scope)) if level else name)
        if known is not None and all(hasattr(known, item) for item in fromlist or ()):
            return known if fromlist else self._modules[name.partition(".")[0]]
        with self.importable():
            return builtins.__import__(name, scope, local, fromlist, level)
