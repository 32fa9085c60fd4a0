"""The model registry that the settings name, for commands that read or fill it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from app.errors import SettingError

if TYPE_CHECKING:
    from app.inference.registry import ModelRegistry
    from app.settings import Settings


@contextmanager
def registry_of(settings: Settings) -> Iterator[ModelRegistry]:
    """The registry in `MODEL_DIR`, signed with the key in `DATA_DIR`.

    What the disk refuses inside the block becomes a `SettingError` for `MODEL_DIR`: print outside of it.
    """
    from app.inference.registry import ModelRegistry
    from app.store.keys import load_or_create

    try:
        yield ModelRegistry(settings.model_dir, load_or_create(settings.data_dir).registry)
    except OSError as error:
        place = error.filename or settings.model_dir
        raise SettingError("MODEL_DIR", f"{place}: {error.strerror or error}") from error
