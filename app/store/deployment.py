"""What the processes of all hosts share in the store beside the log: the deployment's key, and reloads."""

from __future__ import annotations

import secrets
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence

import msgspec
from sqlalchemy import Connection, text

from app.clock import now_us
from app.errors import SettingError, StoreUnavailable
from app.store.engine import Database
from app.store.keys import FILE_NAME
from app.store.kinds import DURABLE, PROBING, READING
from app.store.statements import statements

_SHOWN = 8  # digits of a fingerprint
_ASK_AGAIN_S = 5.0
_SEEN_S = 5.0  # a live worker writes its row this often; one that has not for three times as long has ended
# Nobody tries again after this; all workers of a host leave at once, and have one lock to wait for.
_LEAVING = msgspec.structs.replace(PROBING, busy_s=5.0)
WHAT_IS_LOST = (
    "ids of earlier predictions are unknown (404), so their labels are refused; named users change their version; and "
    "versions that the other key signed are refused until they are published again"
)


class DeploymentKey:
    """The deployment's key, as the store has it, against that of this process, by their fingerprints. Thread-safe.

    `clock` is monotonic seconds. `setting` is the variable that says where the process's key is, for errors.
    """

    def __init__(
        self,
        database: Database,
        fingerprint: str,
        clock_us: Callable[[], int] = now_us,
        clock: Callable[[], float] = time.monotonic,
        *,
        setting: str = "DATA_DIR",
    ) -> None:
        self._database = database
        self._setting = setting
        self._fingerprint = fingerprint
        self._clock_us, self._clock = clock_us, clock
        self._accepted_until_s = float("-inf")
        # Whether the store was last seen with another key.
        self.foreign = False

    def require(self) -> None:
        """Do nothing if the store has this key; a store that has none gets it. Asks the store every few seconds only.

        Raises `SettingError` where it has another one, and `StoreUnavailable`.
        """
        # Asked again, because somebody may accept another key on another host while this process runs.
        if self._clock() < self._accepted_until_s:
            return
        known = self.known()
        if known is None:
            # Under the lock of all writers: of two hosts that start at once, one is the first.
            with self._database.begin(DURABLE) as connection:
                known = _newest(connection)
                if known is None:
                    self._put(connection)
                    known = self._fingerprint
        self.foreign = known != self._fingerprint
        if self.foreign:
            raise SettingError(self._setting, refusal(known, self._fingerprint, self._database.kind.place))
        self._accepted_until_s = self._clock() + _ASK_AGAIN_S

    def admit(self) -> None:
        """`require`, for a process that runs already: another key is a store that it cannot use."""
        try:
            self.require()
        except SettingError as error:
            raise StoreUnavailable(error.message) from error

    def recognise(self) -> bool:
        """`admit` for a command: a store without a key stays without. Whether the store has this key."""
        known = self.known()
        self.foreign = known not in (None, self._fingerprint)
        if known is not None and self.foreign:
            raise StoreUnavailable(refusal(known, self._fingerprint, self._database.kind.place))
        return known is not None

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
        "deployment's key there (a backup has it, as keys/deployment.key; all hosts need the same one), and "
        "start the process again. If the key is lost for good, bakeoff accept-key says what that costs"
    )


def _newest(connection: Connection) -> str | None:
    found: str | None = connection.execute(text(statements("deployment")["fingerprint"])).scalar()
    return found


class StoredGenerations:
    """Generations of loaded models, by rows that the workers of all hosts share; one object a worker. Thread-safe.

    Making one touches nothing. Calls raise `StoreUnavailable`. A generation is a random name: a worker with another
    one than the newest loads the model registry again. `clock` is monotonic seconds; when a worker was seen is told
    and compared by the database's clock, because those of hosts differ. `admit` raises `StoreUnavailable` where the
    store has another deployment's key: then nothing is announced, and the worker shows that it lives all the same.
    """

    def __init__(
        self,
        database: Database,
        clock: Callable[[], float] = time.monotonic,
        admit: Callable[[], None] = lambda: None,
    ) -> None:
        self._database = database
        self._admit = admit
        self._clock = clock
        self._worker = secrets.token_hex(8)
        self._confirmed: str | None = None
        self._seen_s = 0.0
        self._left = False
        # Held while the row is written: the thread that shows that the worker lives must not write the generation
        # before the last over the one that a reload on another thread has confirmed meanwhile.
        self._lock = threading.Lock()

    def current(self) -> str:
        """The generation that every worker should have; empty before the first reload. A worker shows that it lives."""
        with self._lock:
            if self._confirmed is not None and not self._left and self._clock() - self._seen_s >= _SEEN_S:
                self._put(self._confirmed)
        with self._database.begin(READING) as connection:
            found: str | None = connection.execute(text(_statement(connection, "generation"))).scalar()
        return found or ""

    def advance(self) -> str:
        """Make and return a new generation, which every worker should have from now on."""
        self._admit()
        generation = secrets.token_hex(8)
        with self._database.begin(DURABLE) as connection:
            connection.execute(text(_statement(connection, "put_generation")), {"generation": generation})
        return generation

    def confirm(self, generation: str, versions: Collection[str] = ()) -> None:
        """Record that this process has loaded `generation`, and which `versions`."""
        with self._lock:
            self._confirmed, self._seen_s = generation, float("-inf")
            if not self._left:
                self._put(generation, versions)

    def behind(self, generation: str) -> int:
        """The number of live workers of all hosts whose last confirmed generation is another."""
        with self._database.begin(READING) as connection:
            query = text(_statement(connection, "behind"))
            found: int = connection.execute(query, {"generation": generation}).scalar_one()
        return found

    def lacking(self, generation: str | None = None) -> Mapping[str, Sequence[str]]:
        """By host, the versions that a live worker of another one has loaded, and one of this host has not.

        Of the workers that have confirmed `generation`; without it, of all.
        """
        with self._database.begin(READING) as connection:
            rows = connection.execute(text(_statement(connection, "loaded"))).all()
        loaded = [
            (row.host, msgspec.json.decode(row.versions, type=set[str]))
            for row in rows
            if generation in (None, row.generation)
        ]
        anywhere = set[str]().union(*(versions for _, versions in loaded))
        lacked: dict[str, set[str]] = defaultdict(set)
        for host, versions in loaded:
            lacked[host] |= anywhere - versions
        return {host: sorted(versions) for host, versions in sorted(lacked.items()) if versions}

    def leave(self) -> None:
        """Remove this worker's row: it ends, and nobody has to wait for it. It is not written again."""
        with self._lock:
            self._left = True
            with self._database.begin(_LEAVING) as connection:
                connection.execute(text(_statement(connection, "drop_worker")), {"worker": self._worker})
                connection.execute(text(_statement(connection, "drop_worker_versions")))

    def _put(self, generation: str, loaded: Collection[str] | None = None) -> None:
        row = {"worker": self._worker, "host": socket.gethostname(), "generation": generation}
        with self._database.begin(PROBING) as connection:  # what a power cut takes is written again
            connection.execute(text(_statement(connection, "put_worker")), row)
            connection.execute(text(_statement(connection, "drop_workers")))
            if loaded is not None:
                row = {"worker": self._worker, "versions": msgspec.json.encode(sorted(loaded)).decode()}
                connection.execute(text(_statement(connection, "put_worker_versions")), row)
                connection.execute(text(_statement(connection, "drop_worker_versions")))
        self._seen_s = self._clock()


def _statement(connection: Connection, name: str) -> str:
    return statements("deployment", connection.dialect.name)[name]
