"""`bakeoff doctor`: check the installation, the settings, the model registry, the store and the ports."""

from __future__ import annotations

import argparse
import importlib.metadata
import re
import shutil
import socket
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from app.clock import now_us
from app.errors import ArtefactRefused, BakeoffError
from app.services.queries import doctor
from app.services.queries.doctor import Diagnosis
from app.settings import Settings
from app.store.stamps import Stamped, stamped_at_s

if TYPE_CHECKING:
    from app.domain.archive import ArchiveMark
    from app.store.kinds import StoreFacts

_REQUIREMENTS = Path(__file__).resolve().parents[2] / "requirements.txt"
# Below this line requirements.txt lists what other packages need, which nobody has to mend by hand.
_IMPORTED_ENDS = "# What these bring along"
_CHECK_S = 20.0  # SQLite's check reads the whole store; the doctor should answer while somebody waits
_SHELF = "shelf"  # the model registry's name in the JSON, where it must stay
_TITLES = {_SHELF: "model registry"}
_MARKS = {"ok": "ok    ", "warn": "warn  ", "broken": "BROKEN"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")


def run(args: argparse.Namespace) -> int:
    """Print the findings and what to do; exit status 1 if something is broken. Changes nothing."""
    findings = [*_findings()]
    if args.json:
        body = {"healthy": doctor.healthy(findings), "findings": findings}
        print(msgspec.json.format(msgspec.json.encode(body), indent=2).decode())
        return 0 if doctor.healthy(findings) else 1
    return show(findings)


def show(findings: Sequence[Diagnosis]) -> int:
    """Print a line for each finding, with what to do below it. The exit status: 1 if something is broken."""
    for finding in findings:
        print(f"{_MARKS[finding.state]}  {_TITLES.get(finding.name, finding.name)}: {finding.detail}")
        if finding.advice:
            print(f"        → {finding.advice}")
    return 0 if doctor.healthy(findings) else 1


def of_state() -> list[Diagnosis]:
    """The findings about the model registry and the store only. Raises `SettingError`."""
    settings = Settings.from_environ()
    return [*_state(settings)]


def _findings() -> Iterator[Diagnosis]:
    yield _python()
    packages = doctor.of_packages(*_packages())
    yield from packages
    if not doctor.healthy(packages):
        return  # the checks below need the packages
    try:
        settings = Settings.from_environ()
    except BakeoffError as error:
        yield Diagnosis("settings", "broken", error.message, "correct that variable; .env.example explains each one")
        return
    yield _settings(settings)
    yield from _state(settings)
    yield from _ports(settings)


def _state(settings: Settings) -> Iterator[Diagnosis]:
    store = [*_store(settings)]  # first, since the key is at fault where versions and store are of another one
    yield from _registry(settings, next((finding for finding in store if finding.name == "key"), None))
    yield from store


def _python() -> Diagnosis:
    return Diagnosis("python", "ok", ".".join(map(str, sys.version_info[:3])))


def _packages() -> tuple[dict[str, str], dict[str, str | None]]:
    """The versions of the packages that the code imports: those it was tested with, and those installed (or None)."""
    lines = _REQUIREMENTS.read_text().partition(_IMPORTED_ENDS)[0] if _REQUIREMENTS.exists() else ""
    required = dict(re.findall(r"^([A-Za-z0-9_.-]+)==(\S+)", lines, re.MULTILINE))
    return required, {name: _installed(name) for name in required}


def _installed(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _settings(settings: Settings) -> Diagnosis:
    complaints = settings.tokens.complaints()
    if complaints:
        return Diagnosis("settings", "warn", "; ".join(each.detail for each in complaints), complaints[0].advice)
    if not settings.tokens.can_administer:
        advice = "set ADMIN_TOKEN to change weights, reload or decide over the API"
        return Diagnosis("settings", "warn", "all are valid; administration is switched off", advice)
    return Diagnosis("settings", "ok", "all are valid")


def _registry(settings: Settings, key: Diagnosis | None) -> Iterator[Diagnosis]:
    # Checked first, because opening the registry would make a key, and the doctor changes nothing.
    if not settings.key_file.exists():
        detail = f"there is no deployment key at {settings.key_file}, so no version can be verified"
        advice = "if versions were published before, restore their DATA_DIR or set it; otherwise run: bakeoff train"
        if settings.deployment_key_file is not None:
            advice = "mount the secret there; a service that has run before has its key in DATA_DIR/keys/deployment.key"
        yield Diagnosis(_SHELF, "broken", detail, advice)
        return
    yield from _versions(settings, key)


def _versions(settings: Settings, key: Diagnosis | None) -> Iterator[Diagnosis]:
    # Deferred: it loads packages, and the doctor must be able to say that one is missing.
    from app.cli.access import registry_of, signed_versions
    from app.inference.model_files import missing_libraries
    from app.inference.retirement import retired_versions
    from app.inference.storage import RETIRED

    installed = _installed("scikit-learn") or ""
    findings: list[Diagnosis] = []
    unserved: list[Diagnosis] = []
    references: list[Diagnosis | None] = []
    try:
        with registry_of(settings) as registry:
            retired, signed = retired_versions(registry), signed_versions(registry)
            other_key = doctor.is_other_key(key, len(signed))
            for name in registry.names():
                try:
                    artefact = registry.verified(name)
                    missing = missing_libraries(artefact.manifest, artefact.files)
                    finding = doctor.of_version(artefact.manifest, installed, missing)
                except ArtefactRefused as error:
                    finding = doctor.of_refused(name, error.message, name in signed, other_key)
                else:
                    references.append(doctor.of_references(name, registry.reference_history(name)))
                if name in retired:
                    unserved.append(doctor.unserved(finding, retired[name].candidate))
                else:
                    findings.append(finding)
            references += map(doctor.of_stray_reference, registry.stray_references())
            registry.aliases()
    except ArtefactRefused as error:  # of the tables: those of versions are findings already
        yield doctor.of_table(error.message, str(settings.model_dir / RETIRED) in error.message)
        return
    except BakeoffError as error:
        advice = "make that folder readable for this user, or set MODEL_DIR or DATA_DIR to the right one"
        if settings.model_bucket is not None:
            advice = "check MODEL_DIR, AWS_ENDPOINT_URL, AWS_REGION and the credentials"
        yield Diagnosis(_SHELF, "broken", error.message, advice)
        return
    served = sum(finding.state != "broken" for finding in findings)
    yield doctor.of_registry(settings.registry, len(findings), served, other_key)
    yield from findings
    yield from unserved
    yield from filter(None, references)


def _store(settings: Settings) -> Iterator[Diagnosis]:
    # Deferred: it loads packages, and the doctor must be able to say that one is missing.
    from app.store.engine import kind_of
    from app.store.kinds import MORE_CONNECTIONS

    try:
        kind = kind_of(settings.store_url)
    except BakeoffError as error:
        yield Diagnosis("store", "broken", error.message, "correct DATABASE_URL")
        return
    folder = _existing_folder(kind.file or settings.data_dir / "any")
    at_us, facts = now_us(), None
    try:
        facts = kind.examine(_CHECK_S)
        yield doctor.of_disk(str(folder), shutil.disk_usage(folder).free, facts.bytes_per_day if facts else None)
    except BakeoffError as error:
        yield doctor.of_disk(str(folder), shutil.disk_usage(folder).free)
        advice = "start that server, or correct DATABASE_URL"
        if kind.file is not None:
            advice = "if it is damaged, stop the service and restore a backup: bakeoff restore"
        detail, full, _ = error.message.partition(f"; {MORE_CONNECTIONS}")
        yield Diagnosis("store", "broken", detail, MORE_CONNECTIONS if full else advice)
        return
    if facts is None:
        yield Diagnosis("store", "ok", f"{kind.place} will be created at the first start")
        yield doctor.of_clock(at_us, None)
        return
    yield from _of_facts(facts, kind.place, at_us)
    if facts.key is not None:
        yield _key(settings, facts.key, kind.place)
    yield doctor.of_backup(_age_s(settings, "backup", at_us))
    if facts.open_erasure_us is not None:
        yield doctor.of_erasure(max(0, at_us - facts.open_erasure_us) / 1e6)
    archive_age_s = _age_s(settings, "archive", at_us)
    if archive_age_s is not None:
        yield doctor.of_archive(archive_age_s, _archive_complaint(settings, facts.archive))


def _key(settings: Settings, known: str, place: str) -> Diagnosis:
    from app.store.deployment import refusal
    from app.store.keys import load_or_create

    if not settings.key_file.exists():
        return doctor.of_key(None, None)
    try:
        own = load_or_create(settings.data_dir, settings.deployment_key_file).fingerprint
    except BakeoffError as error:
        return Diagnosis("key", "broken", error.message, "restore it from a backup: bakeoff restore")
    return doctor.of_key(own, None if own == known else refusal(known, own, place))


def _archive_complaint(settings: Settings, mark: ArchiveMark | None) -> str | None:
    """Why the archive of the log cannot be read; None where it can, and where nothing is archived."""
    from app.store.archive.source import ArchivedLog

    if mark is None:
        return None
    try:
        ArchivedLog(settings.archive_to).require_files(mark)
    except BakeoffError as error:
        return error.message
    return None


def _age_s(settings: Settings, what: Stamped, at_us: int) -> float | None:
    stamped_s = stamped_at_s(settings.data_dir, what)
    return None if stamped_s is None else max(0.0, at_us / 1e6 - stamped_s)


def _existing_folder(file: Path) -> Path:
    """The nearest folder above `file` that exists, which is on the file system where the file is or will be."""
    return next((folder for folder in file.parents if folder.is_dir()), Path())


def _of_facts(facts: StoreFacts, place: str, at_us: int) -> Iterator[Diagnosis]:
    if facts.server is not None:
        yield doctor.of_server(f"{facts.server} at {place}", facts.complaint, facts.risks)
    else:
        yield doctor.of_integrity(facts.complaint, facts.finished)
    if facts.wal_bytes is not None:
        yield doctor.of_wal(facts.wal_bytes)
    yield doctor.of_monitor(None if facts.heartbeat_us is None else max(0, at_us - facts.heartbeat_us) / 1e6)
    yield doctor.of_clock(at_us, facts.newest_prediction_us)


def _ports(settings: Settings) -> Iterator[Diagnosis]:
    # Asked for a page that only ours has, because a port in use is what one wants while the service runs.
    for variable, port, path, sign in (
        ("API_PORT", settings.api_port, "/health/live", b"alive"),
        ("UI_PORT", settings.ui_port, "/_stcore/health", b"ok"),
        ("PROMETHEUS_PORT", settings.prometheus_port, "/-/healthy", b"Prometheus"),
    ):
        in_use = _listens(port)
        yield doctor.of_port(variable, port, in_use, in_use and _answers(port, path, sign))


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _answers(port: int, path: str, sign: bytes) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=2) as answer:
            return sign in answer.read(10_000)
    except (OSError, ValueError):
        return False
