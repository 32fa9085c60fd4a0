"""What the master of a host's workers does for them."""

from __future__ import annotations

from app.observe.folding import DeadWorkers
from app.observe.metric_files import wipe
from app.settings import Settings


class Host:
    """Prepares the folder that workers share, and keeps what dead ones left there."""

    def __init__(self, settings: Settings) -> None:
        self._directory = settings.metrics_dir
        self._dead = DeadWorkers(settings.metrics_dir)

    def prepare(self) -> None:
        """Before the first worker starts: an empty folder for their metrics."""
        wipe(self._directory)

    def retire(self, pid: int) -> None:
        """Keep what a dead worker had counted."""
        self._dead.fold(pid)
