"""What the processes of all hosts share in the store beside the log: which key the deployment has."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection, text

from app.clock import now_us
from app.errors import SettingError, StoreUnavailable
from app.store.engine import Database
from app.store.keys import FILE_NAME
from app.store.kinds import DURABLE, READING
from app.store.statements import statements

_SHOWN = 8  # digits of a fingerprint
WHAT_IS_LOST = (
    "ids of earlier predictions are unknown (404), so their labels are refused; named users change their version; and "
    "versions that the other key signed are refused until they are published again"
)


class DeploymentKey:
    """The key that the store was begun with, against that of this process, by their fingerprints. Thread-safe."""

    def __init__(self, database: Database, fingerprint: str, clock_us: Callable[[], int] = now_us) -> None:
        self._database = database
        self._fingerprint = fingerprint
        self._clock_us = clock_us
        self._accepted = False

    def require(self) -> None:
        """Do nothing if the store has this key; a store that has none gets it. Asks the store once.

        Raises `SettingError` where it has another one, and `StoreUnavailable`.
        """
        if self._accepted:
            return
        known = self.known()
        if known is None:
            # Under the lock of all writers: of two hosts that start at once, one is the first.
            with self._database.begin(DURABLE) as connection:
                known = _newest(connection)
                if known is None:
                    self._put(connection)
                    known = self._fingerprint
        if known != self._fingerprint:
            raise SettingError("DATA_DIR", refusal(known, self._fingerprint, self._database.kind.place))
        self._accepted = True

    def admit(self) -> None:
        """`require`, for a process that runs already: another key is a store that it cannot use."""
        try:
            self.require()
        except SettingError as error:
            raise StoreUnavailable(error.message) from error

    def known(self) -> str | None:
        """The fingerprint in the store; None before the first process. Raises `StoreUnavailable`."""
        with self._database.begin(READING) as connection:
            return _newest(connection)

    def accept(self) -> None:
        """Make this process's key the deployment's. Durable on return. Raises `StoreUnavailable`."""
        with self._database.begin(DURABLE) as connection:
            self._put(connection)

    def _put(self, connection: Connection) -> None:
        row = {"fingerprint": self._fingerprint, "since_us": self._clock_us()}
        connection.execute(text(statements("deployment")["put_fingerprint"]), row)


def refusal(known: str, own: str, place: str) -> str:
    """What is wrong where the store at `place` has another key than the process, by their fingerprints; what to do."""
    return (
        f"the key of this process ({own[:_SHOWN]}…) is not that of the store at {place} ({known[:_SHOWN]}…): the file "
        f"(DEPLOYMENT_KEY_FILE, or keys/{FILE_NAME} in DATA_DIR) was lost, or is that of another host. Put the "
        "deployment's key there (bakeoff restore brings back that of a backup; all hosts need the same one). If it is "
        "lost for good, bakeoff accept-key says what that costs"
    )


def _newest(connection: Connection) -> str | None:
    found: str | None = connection.execute(text(statements("deployment")["fingerprint"])).scalar()
    return found
