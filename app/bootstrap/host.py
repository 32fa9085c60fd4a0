"""What the master of a host's workers does for them."""

from __future__ import annotations

from app.errors import SettingError
from app.observe.metric_files import DeadWorkers, wipe
from app.settings import Settings


class Host:
    """Prepares the folder that workers share, and keeps what dead ones left there."""

    def __init__(self, settings: Settings) -> None:
        self._directory = settings.metrics_dir
        self._drain_file = settings.drain_file
        self._dead = DeadWorkers(settings.metrics_dir)

    def prepare(self) -> None:
        """Before the first worker starts: an empty folder for their metrics, and nothing that drains them.

        Raises `SettingError` for `DRAIN_FILE` where it is there and cannot be removed.
        """
        wipe(self._directory)
        self._forget_draining()

    def _forget_draining(self) -> None:
        """A drain file was meant for the process before this one, and would keep this one from ever being ready."""
        if self._drain_file is None:
            return
        try:
            self._drain_file.unlink(missing_ok=True)
        except OSError as error:
            raise SettingError("DRAIN_FILE", f"cannot remove {self._drain_file}: {error.strerror}") from error

    def retire(self, pid: int) -> None:
        """Keep what a dead worker had counted."""
        self._dead.fold(pid)
