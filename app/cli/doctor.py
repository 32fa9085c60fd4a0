"""`bakeoff doctor`: check the installation, the settings, the model registry, the store and the ports."""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import re
import shutil
import socket
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from app.errors import BakeoffError
from app.services.queries import doctor
from app.services.queries.doctor import Diagnosis

if TYPE_CHECKING:
    from app.settings import Settings
    from app.store.kinds import StoreFacts

_REQUIREMENTS = Path(__file__).resolve().parents[2] / "requirements.txt"
_IMPORTED_ENDS = "# What these bring along"
_CHECK_S = 20.0
_MARKS = {"ok": "ok    ", "warn": "warn  ", "broken": "BROKEN"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")


def run(args: argparse.Namespace) -> int:
    """Print a line for each thing looked at, and what to do; 1 where something is broken. Changes nothing."""
    findings = [*_findings()]
    if args.json:
        body = {"healthy": doctor.healthy(findings), "findings": findings}
        print(msgspec.json.format(msgspec.json.encode(body), indent=2).decode())
        return 0 if doctor.healthy(findings) else 1
    return show(findings)


def show(findings: Sequence[Diagnosis]) -> int:
    """Print a line for each finding, and what to do; 1 where something is broken."""
    for finding in findings:
        print(f"{_MARKS[finding.state]}  {finding.name}: {finding.detail}")
        if finding.advice:
            print(f"        → {finding.advice}")
    return 0 if doctor.healthy(findings) else 1


def of_state() -> list[Diagnosis]:
    """The findings on the model registry and the store alone."""
    from app.settings import Settings

    settings = Settings.from_environ()
    return [*_registry(settings), *_store(settings)]


def _findings() -> Iterator[Diagnosis]:
    """One after the other: a slow check must not hold back what is known already."""
    yield _python()
    packages = doctor.of_packages(*_packages())
    yield from packages
    if not doctor.healthy(packages):
        return
    from app.settings import Settings

    try:
        settings = Settings.from_environ()
    except BakeoffError as error:
        yield Diagnosis(
            "settings", "broken", error.message, "mend that variable; .env.example gives the reason of each"
        )
        return
    yield _settings(settings)
    yield from _registry(settings)
    yield from _store(settings)
    yield from _ports(settings)


def _python() -> Diagnosis:
    return Diagnosis("python", "ok", ".".join(map(str, sys.version_info[:3])))


def _packages() -> tuple[dict[str, str], dict[str, str | None]]:
    """The packages that the code imports, as tested and as installed."""
    lines = _REQUIREMENTS.read_text().partition(_IMPORTED_ENDS)[0] if _REQUIREMENTS.exists() else ""
    required = dict(re.findall(r"^([A-Za-z0-9_.-]+)==(\S+)", lines, re.MULTILINE))
    return required, {name: _installed(name) for name in required}


def _installed(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _settings(settings: Settings) -> Diagnosis:
    if settings.admin_token is None:
        advice = "set ADMIN_TOKEN to change weights, reload or decide over the API"
        return Diagnosis("settings", "warn", "all are valid; administration is switched off", advice)
    return Diagnosis("settings", "ok", "all are valid")


def _registry(settings: Settings) -> Iterator[Diagnosis]:
    from app.store.keys import FILE_NAME

    place = settings.model_dir
    if not (settings.data_dir / "keys" / FILE_NAME).exists():  # making one is not a doctor's business
        detail = f"no key in {settings.data_dir}, so that no version of {place} can be verified"
        yield Diagnosis("shelf", "broken", detail, "put DATA_DIR back if there was one; else: bakeoff train")
        return
    yield from _versions(settings)


def _versions(settings: Settings) -> Iterator[Diagnosis]:
    from app.cli.shelf_access import registry_of
    from app.errors import ArtefactRefused

    installed = _installed("scikit-learn") or ""
    findings = []
    try:
        with registry_of(settings) as registry:
            for name in registry.names():
                try:
                    findings.append(doctor.of_version(registry.verified(name).manifest, installed))
                except ArtefactRefused as error:
                    advice = "it is not served: put it back as it was published, or remove its folder"
                    findings.append(Diagnosis(f"version {name}", "broken", error.message, advice))
            with contextlib.suppress(FileNotFoundError):
                registry.aliases()
    except BakeoffError as error:
        yield Diagnosis("shelf", "broken", error.message, "the api moves the aliases again; else see MODEL_DIR")
        return
    served = sum(finding.state != "broken" for finding in findings)
    yield doctor.of_registry(str(settings.model_dir), len(findings), served)
    yield from findings


def _store(settings: Settings) -> Iterator[Diagnosis]:
    from app.store.kinds import kind_of

    now_us = time.time_ns() // 1000
    try:
        kind = kind_of(settings.store_url)
        near = kind.file or settings.data_dir / "any"
        folder = next((place for place in (near.parent, *near.parent.parents) if place.is_dir()), Path())
        yield doctor.of_disk(str(folder), shutil.disk_usage(folder).free)
        facts = kind.examine(_CHECK_S)
    except BakeoffError as error:
        yield Diagnosis("store", "broken", error.message, "start its server, or put the store back from a backup")
        return
    if facts is None:
        yield Diagnosis("store", "ok", f"{kind.place} is made at the first start")
        yield doctor.of_clock(now_us, None)
        return
    yield from _of_facts(facts, kind.place, now_us)


def _of_facts(facts: StoreFacts, place: str, now_us: int) -> Iterator[Diagnosis]:
    if facts.server is not None:
        yield doctor.of_server(f"{facts.server} at {place}", facts.complaint, facts.risks)
    else:
        yield doctor.of_integrity(facts.complaint, facts.finished)
    if facts.wal_bytes is not None:
        yield doctor.of_wal(facts.wal_bytes)
    yield doctor.of_monitor(None if facts.heartbeat_us is None else max(0, now_us - facts.heartbeat_us) / 1e6)
    yield doctor.of_clock(now_us, facts.newest_prediction_us)


def _ports(settings: Settings) -> Iterator[Diagnosis]:
    for variable, port, path, sign in (
        ("API_PORT", settings.api_port, "/health/live", b"alive"),
        ("UI_PORT", settings.ui_port, "/_stcore/health", b"ok"),
        ("PROMETHEUS_PORT", settings.prometheus_port, "/-/healthy", b"Prometheus"),
    ):
        taken = _listens(port)
        yield doctor.of_port(variable, port, taken, taken and _answers(port, path, sign))


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
