"""One process keeps up with what was decided anywhere: it serves with the newest configuration and repairs aliases."""

from __future__ import annotations

import logging
import threading

from app.domain.experiment import Configuration
from app.errors import SettingError
from app.services.aliases import AliasKeeper
from app.services.configuration import Configurations
from app.services.ports import Fleet
from app.services.predict import Live

_LOG = logging.getLogger(__name__)


class Following:
    """Installs the newest configuration in `live` each time it is asked to; safe in threads.

    A thread asks several times a second, and whoever has just decided asks at once. One at a time: an older
    configuration must not be installed over a newer one.
    """

    def __init__(self, configurations: Configurations, live: Live, keeper: AliasKeeper) -> None:
        self._configurations = configurations
        self._live = live
        self._keeper = keeper
        self._lock = threading.Lock()

    def serve(self, fleet: Fleet) -> Configuration:
        """Serve with `fleet` and with the configuration that it leads to, which is returned.

        Raises `SettingError` where the settings do not fit the fleet; then nothing has changed.
        """
        with self._lock:
            try:
                configuration = self._configurations.load(fleet)
            except SettingError:
                self._configurations.load(self._live.fleet)
                raise
            self._live.install(fleet)
            self._live.configure(configuration)
            return configuration

    def now(self) -> None:
        """Look once. An unusable store or shelf is no reason to raise: serving goes on with what is installed."""
        with self._lock:
            changed = self._configurations.poll()
            if changed is not None:
                self._live.configure(changed)
                _LOG.info("configuration_installed", extra={"event_fields": {"epoch": changed.epoch}})
            self._keeper.keep(self._live.configuration)
