"""The work of gunicorn's master for its workers: prepare their shared files, and keep the counts of dead ones."""

from __future__ import annotations

from app.errors import SettingError
from app.observe.metric_files import DeadWorkers, wipe
from app.settings import Settings


class Host:
    """Prepares the files that workers share, and keeps the metrics of workers that ended."""

    def __init__(self, settings: Settings) -> None:
        self._directory = settings.metrics_dir
        self._drain_file = settings.drain_file
        self._dead = DeadWorkers(settings.metrics_dir)

    def prepare(self) -> None:
        """Empty the folder of metrics and remove the drain file, before the first worker starts.

        Raises `SettingError` for `DRAIN_FILE` where the file cannot be removed.
        """
        wipe(self._directory)
        self._remove_drain_file()

    def _remove_drain_file(self) -> None:
        # It was meant for the process before this one, and this one would never be ready while it exists.
        if self._drain_file is None:
            return
        try:
            self._drain_file.unlink(missing_ok=True)
        except OSError as error:
            raise SettingError("DRAIN_FILE", f"cannot remove {self._drain_file}: {error.strerror}") from error

    def retire(self, pid: int) -> None:
        """Add the counts of the dead worker with this process id to the ones that are kept."""
        self._dead.merge(pid)
