"""The rules of `bakeoff doctor`: each turns facts about the installation into a finding with advice. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from app.domain.manifest import Manifest, ReferenceHistory
from app.domain.timestamps import iso_utc

State = Literal["ok", "warn", "broken"]
_GIB = 1024**3
LEAST_FREE_BYTES = 200 * 1024**2
SCANT_FREE_BYTES = 2 * _GIB
LARGEST_WAL_BYTES = 256 * 1024**2
STALE_S = 30.0
FEWEST_DAYS = 14.0
OLDEST_BACKUP_DAYS, OLDEST_ARCHIVE_DAYS = 2.0, 3.0
_TOLERATED_S = 5.0
_EARLIEST_US = 1_735_689_600_000_000  # 2025-01-01: older than any release, so such a clock is wrong
_US = 1_000_000
_DAY_S = 86_400
_KEY_FIRST = (
    "put the deployment's key there first (DEPLOYMENT_KEY_FILE, or keys/deployment.key in DATA_DIR); only if it is "
    "lost for good: bakeoff accept-key"
)


class Diagnosis(msgspec.Struct, frozen=True, omit_defaults=True):
    """One check. `broken`: the service cannot work like this. `warn`: it works, with a cost or a risk."""

    name: str
    state: State
    detail: str
    advice: str | None = None


def healthy(findings: Sequence[Diagnosis]) -> bool:
    """Whether nothing is broken."""
    return all(finding.state != "broken" for finding in findings)


def of_packages(required: Mapping[str, str], installed: Mapping[str, str | None]) -> list[Diagnosis]:
    """The installed packages against the versions that were tested."""
    missing = [name for name in required if installed.get(name) is None]
    others = [
        f"{name} {installed[name]} (tested: {version})"
        for name, version in required.items()
        if installed.get(name) not in (None, version)
    ]
    advice = "python -m pip install -r requirements.txt"
    if missing:
        return [Diagnosis("packages", "broken", f"missing: {', '.join(missing)}", advice)]
    if others:
        return [Diagnosis("packages", "warn", f"other versions than tested: {', '.join(others)}", advice)]
    return [Diagnosis("packages", "ok", f"{len(required)} packages as tested")]


def of_version(manifest: Manifest, installed_sklearn: str, missing: Sequence[str] = ()) -> Diagnosis:
    """A version with a valid signature and valid checksums; `missing` are packages that serving it needs here."""
    name, parity = f"version {manifest.version}", manifest.parity
    if missing:
        packages = ", ".join(missing)
        return Diagnosis(
            name,
            "broken",
            f"valid signature, but its model needs {packages}, not installed here: it is not served",
            f"install {packages} where the API runs, and reload or restart",
        )
    written = manifest.libraries.get("scikit-learn", installed_sklearn)
    # A pickle of another scikit-learn may load and give other answers; an ONNX graph does not depend on it.
    if manifest.runtime == "sklearn" and written != installed_sklearn:
        return Diagnosis(
            name,
            "warn",
            f"runs on scikit-learn and was written with {written}; {installed_sklearn} is installed",
            f"install scikit-learn {written}, or publish the model again under another version",
        )
    if manifest.runtime == "sklearn":
        reason = f": {parity.reason}" if parity.reason else ""
        return Diagnosis(name, "ok", f"valid signature; runs on scikit-learn, which is slower than ONNX{reason}")
    if not parity.holds:
        return Diagnosis(
            name,
            "broken",
            "its ONNX graph gives other answers than the original model",
            "do not serve it; publish the model again under another name",
        )
    if not manifest.has_estimator:
        return Diagnosis(name, "ok", "valid signature; an ONNX file that is served as it was given")
    return Diagnosis(
        name, "ok", f"valid signature; ONNX agrees with the original ({parity.flips} flips in {parity.rows} rows)"
    )


_ANOTHER_REFERENCE = "bakeoff publish --refresh-reference"


def of_references(version: str, history: ReferenceHistory) -> Diagnosis | None:
    """The references that a version got after its publication; None where there are none."""
    newest = history.newest
    counts = f"reference {newest.number}" if newest else f"the reference that {version} was published with"
    if history.refused:
        detail = f"{'; '.join(history.refused)}; {counts} counts"
        advice = f"restore that folder from a backup, or remove it; to make another: {_ANOTHER_REFERENCE} {version}"
        return Diagnosis(f"references of {version}", "warn", detail, advice)
    if newest is None:
        return None
    since = iso_utc(newest.counts_from_us)
    return Diagnosis(f"references of {version}", "ok", f"valid signature; {counts} counts since {since}")


def of_stray_reference(folder: str) -> Diagnosis:
    """A reference of a version that is not in the registry."""
    detail = f"{folder} is the reference of a version that is not in the model registry"
    return Diagnosis("references", "warn", detail, "restore the version's folder from a backup, or remove this one")


def unserved(finding: Diagnosis, candidate: bool) -> Diagnosis:
    """The finding about a version that is retired or a candidate: whatever is wrong with it, the service works."""
    state: State = "ok" if finding.state == "ok" else "warn"
    advice = None if finding.advice is None else "bakeoff retire --undo would bring it back like this"
    return Diagnosis(finding.name, state, f"{'candidate' if candidate else 'retired'}; {finding.detail}", advice)


def of_table(reason: str, of_retired: bool) -> Diagnosis:
    """The table of aliases, or of retired versions, that cannot be read."""
    advice = (
        "restore it from a backup, or remove it and retire the versions again"
        if of_retired
        else "start the API: it writes that file again"
    )
    return Diagnosis("shelf", "broken", reason, advice)


def of_refused(version: str, reason: str, signed: bool, other_key: bool) -> Diagnosis:
    """A version that may not be served. `signed`: by the key of this host, which seems to be an `other_key` than the
    deployment's."""
    advice = "restore its folder from a backup, or remove it"
    if not signed:
        advice = _KEY_FIRST if other_key else f"publish it again if a former key signed it; else {advice}"
    return Diagnosis(f"version {version}", "broken", reason, f"it is not served: {advice}")


def is_other_key(key: Diagnosis | None, signed: int) -> bool:
    """Whether the key of this host seems not to be the deployment's: `key` is what the store says of it (None: there is
    none to ask), and `signed` how many versions it has signed."""
    return key.state == "broken" if key is not None else not signed


def of_registry(place: str, versions: int, served: int, other_key: bool = False) -> Diagnosis:
    """The model registry as a whole: of `versions` that are not retired, `served` may be served."""
    if not versions:
        return Diagnosis("shelf", "broken", f"no version in {place}", "bakeoff train")
    if not served:
        advice = _KEY_FIRST if other_key else "see the line of each version, or: bakeoff train"
        return Diagnosis("shelf", "broken", "every version is refused", advice)
    return Diagnosis("shelf", "ok", f"{served} of {versions} versions in {place} can be served")


def of_disk(place: str, free_bytes: int, bytes_per_day: float | None = None) -> Diagnosis:
    """The free disk space where the store grows, by `bytes_per_day` where that is known."""
    detail, days = f"{free_bytes / _GIB:.1f} GiB free at {place}", math.inf
    if bytes_per_day:
        days = free_bytes / bytes_per_day
        detail += f"; at the log's present rate, {bytes_per_day / _GIB:.3g} GiB a day, it is full in {days:,.0f} days"
    if free_bytes < LEAST_FREE_BYTES:
        return Diagnosis(
            "disk", "broken", detail, "free some space: without it nothing is recorded and feedback is rejected"
        )
    if free_bytes < SCANT_FREE_BYTES:
        return Diagnosis("disk", "warn", detail, "free some space soon, or move DATA_DIR")
    if days < FEWEST_DAYS:
        return Diagnosis("disk", "warn", detail, "archive older rows, or use a larger volume")
    return Diagnosis("disk", "ok", detail)


def of_backup(age_s: float | None) -> Diagnosis:
    """The age of the last backup; None where none was completed."""
    advice = "bakeoff backup --to DIR every night, or docker/backup.sh, and a copy on another host"
    if age_s is None:
        return Diagnosis("backup", "warn", "no backup of these data was made", advice)
    state: State = "warn" if age_s > OLDEST_BACKUP_DAYS * _DAY_S else "ok"
    return Diagnosis("backup", state, f"the last one is {_age(age_s)} old", advice if state == "warn" else None)


def of_archive(age_s: float, complaint: str | None) -> Diagnosis:
    """The age of the last archive of older rows; `complaint` is why it cannot be read, None where it can."""
    if complaint is not None:
        return Diagnosis("archive", "broken", complaint, "set ARCHIVE_TO to where its files are, or put them back")
    late = age_s > OLDEST_ARCHIVE_DAYS * _DAY_S
    advice = "archive the log again: the messages of what archived it say why that has ended" if late else None
    return Diagnosis("archive", "warn" if late else "ok", f"the log was last archived {_age(age_s)} ago", advice)


def of_erasure(age_s: float) -> Diagnosis:
    """An erasure that began that long ago and has not ended."""
    return Diagnosis(
        "erasure",
        "warn",
        f"one that began {_age(age_s)} ago has not ended: it runs, or was stopped, and some rows are still there",
        "give the same `bakeoff erase` with --yes again, unless it runs: it goes on",
    )


def _age(age_s: float) -> str:
    return f"{age_s / 3600:.1f} hours" if age_s < 2 * _DAY_S else f"{age_s / _DAY_S:.1f} days"


def of_wal(size_bytes: int) -> Diagnosis:
    """The store's write-ahead log, which a checkpoint empties unless a long read transaction prevents it."""
    detail = f"{size_bytes / 1024**2:.0f} MiB of write-ahead log"
    if size_bytes > LARGEST_WAL_BYTES:
        return Diagnosis(
            "store log",
            "warn",
            detail,
            "a long read transaction prevents emptying it: end that process, or restart the monitor",
        )
    return Diagnosis("store log", "ok", detail)


def of_integrity(complaint: str | None, finished: bool) -> Diagnosis:
    """The result of SQLite's own integrity check, `complaint` None if it found nothing."""
    if complaint is not None:
        return Diagnosis("store", "broken", complaint, "stop the service and restore the store from a backup")
    if not finished:
        return Diagnosis(
            "store", "warn", "too large to be checked within the time limit", "run it while nothing is served"
        )
    return Diagnosis("store", "ok", "its structure is intact")


def of_server(server: str, complaint: str | None, risks: Sequence[str]) -> Diagnosis:
    """A database server as the store; `risks` are its settings that endanger durability."""
    if complaint is not None:
        return Diagnosis(
            "store", "broken", f"{server}: {complaint}", "fix that, or set DATABASE_URL to another database"
        )
    if risks:
        return Diagnosis("store", "warn", f"{server}: {'; '.join(risks)}", "turn it on, and restart the server")
    return Diagnosis("store", "ok", f"{server} can be the store")


def of_key(own: str | None, refusal: str | None) -> Diagnosis:
    """The key of this host, `own` its fingerprint (None: it has none), against that of the store."""
    if own is None:
        detail = "the store has one, and this host has none: a start would make another one, and be refused"
        return Diagnosis(
            "key", "broken", detail, "put the deployment's key there: bakeoff restore has that of a backup"
        )
    if refusal is not None:
        return Diagnosis("key", "broken", refusal, _KEY_FIRST)
    return Diagnosis("key", "ok", f"{own[:8]}…, that of the store")


def of_monitor(age_s: float | None) -> Diagnosis:
    """How far behind the monitor is."""
    advice = "bakeoff monitor"
    if age_s is None:
        return Diagnosis(
            "monitor", "warn", "it has never run: no evidence, no drift report, no automatic decisions", advice
        )
    if age_s > STALE_S:
        return Diagnosis(
            "monitor", "warn", f"its state is {age_s:.0f} s old: it has stopped, or it cannot keep up", advice
        )
    return Diagnosis("monitor", "ok", f"its state is {age_s:.0f} s old")


def of_clock(now_us: int, newest_us: int | None) -> Diagnosis:
    """This host's clock against the newest prediction in the log."""
    advice = "set the clock (timedatectl set-ntp true): prediction ids and the order of the history depend on it"
    if now_us < _EARLIEST_US:
        return Diagnosis("clock", "broken", "it shows a time before 2025", advice)
    # Only in one direction: a log may well be older than now.
    if newest_us is not None and newest_us - now_us > _TOLERATED_S * _US:
        behind_s = (newest_us - now_us) // _US
        return Diagnosis("clock", "warn", f"it is {behind_s} s behind the newest prediction in the log", advice)
    if newest_us is None:
        return Diagnosis("clock", "ok", "it shows a plausible time; there is no prediction in the log to compare with")
    return Diagnosis("clock", "ok", "it is not behind the newest prediction in the log")


def of_port(variable: str, port: int, taken: bool, ours: bool) -> Diagnosis:
    """A port that a part of the service needs. `ours`: that part is what listens there."""
    name = f"port {port}"
    if ours:  # first: our own listener also makes the port taken
        return Diagnosis(name, "ok", f"{variable}: the service listens there")
    if taken:
        return Diagnosis(name, "broken", f"{variable}: another program listens there", f"stop it, or set {variable}")
    return Diagnosis(name, "ok", f"{variable}: free")
