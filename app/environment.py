"""Reads single environment variables as typed values; a wrong one raises `SettingError` that names the variable."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from app.domain.contract import MODEL_NAME, VERSION_NAME
from app.domain.experiment import LONGEST_WINDOW_S, slow_limit
from app.errors import InvalidRequest, SettingError
from app.scoring.cost import CostMatrix, cost_matrix

_SPAN = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)([smhd]?)")
_HOST_NAME = re.compile(r"\*|[\w.-]{1,253}|\[[0-9a-f:.]+\]")
_ADDRESS = re.compile(r"(\[(?P<ipv6>[0-9a-fA-F:.]+)\]|(?P<host>[\w.-]+)):(?P<port>[0-9]{1,5})")
_BUCKET = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,62}(/[\w.-]+)*", re.ASCII)
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def given(env: Mapping[str, str], variable: str) -> bool:
    """Whether the variable has a value."""
    # Compose passes an unset variable on as an empty string.
    return env.get(variable, "").strip() != ""


def number(env: Mapping[str, str], variable: str, minimum: float = -math.inf, maximum: float = math.inf) -> float:
    """A finite number in these bounds."""
    text = env[variable].strip()
    try:
        value = float(text)
    except ValueError:
        raise SettingError(variable, f"{text!r} is not a number") from None
    if not math.isfinite(value):
        raise SettingError(variable, f"{text!r} is not a finite number")
    if not minimum <= value <= maximum:
        bound = f"at least {minimum:g}" if maximum == math.inf else f"between {minimum:g} and {maximum:g}"
        raise SettingError(variable, f"{text} is not {bound}")
    return value


def real(minimum: float = -math.inf, maximum: float = math.inf) -> Callable[[Mapping[str, str], str], float]:
    """The parser of a number in these bounds."""
    return lambda env, variable: number(env, variable, minimum, maximum)


def integer(minimum: int, maximum: int) -> Callable[[Mapping[str, str], str], int]:
    """The parser of a whole number in these bounds."""

    def parse(env: Mapping[str, str], variable: str) -> int:
        value = number(env, variable, minimum, maximum)
        if value != int(value):
            raise SettingError(variable, f"{env[variable]!r} is not a whole number")
        return int(value)

    return parse


def text_of(env: Mapping[str, str], variable: str) -> str:
    """The text."""
    return env[variable].strip()


def path(env: Mapping[str, str], variable: str) -> Path:
    """The path."""
    return Path(env[variable].strip())


def looks_remote(place: str) -> bool:
    """Whether it is meant to be no folder: a URL, also one of S3 that lacks a slash."""
    return "://" in place or place.lower().startswith("s3:")


def place(env: Mapping[str, str], variable: str) -> Path | str:
    """The path of a folder, or `s3://BUCKET/PREFIX` as text."""
    text = env[variable].strip()
    if not looks_remote(text):
        return Path(text)
    if not _BUCKET.fullmatch(text.rstrip("/")):
        raise SettingError(
            variable, f"{text!r} is neither a folder nor s3://BUCKET/PREFIX, with letters, digits and _ . - / in PREFIX"
        )
    return text.rstrip("/")


def flag(env: Mapping[str, str], variable: str) -> bool:
    """True or false."""
    text = env[variable].strip().lower()
    if text in ("1", "true", "yes", "on"):
        return True
    if text in ("0", "false", "no", "off"):
        return False
    raise SettingError(variable, f"{text!r} is not a truth value: use true or false")


def one_of(*choices: str, upper: bool = False) -> Callable[[Mapping[str, str], str], str]:
    """The parser of one of these words."""

    def parse(env: Mapping[str, str], variable: str) -> str:
        text = env[variable].strip()
        text = text.upper() if upper else text.lower()
        if text not in choices:
            raise SettingError(variable, f"{text!r} is not one of {', '.join(choices)}")
        return text

    return parse


def some_of(*choices: str) -> Callable[[Mapping[str, str], str], tuple[str, ...]]:
    """The parser of a list of these words, separated by commas."""

    def parse(env: Mapping[str, str], variable: str) -> tuple[str, ...]:
        names = [name.strip().lower() for name in env[variable].split(",") if name.strip()]
        for name in names:
            if name not in choices:
                raise SettingError(variable, f"{name[:64]!r} is not one of {', '.join(choices)}")
        return tuple(names)

    return parse


def host_names(env: Mapping[str, str], variable: str) -> tuple[str, ...]:
    """Names and addresses of hosts, separated by commas, in small letters; `*` stands for any."""
    names = tuple(name.strip().lower() for name in env[variable].split(",") if name.strip())
    for name in names:
        if not _HOST_NAME.fullmatch(name):
            raise SettingError(
                variable, f"{name[:64]!r} is not a name: give names without scheme and port, separated by commas, or *"
            )
    return names


def address(env: Mapping[str, str], variable: str) -> tuple[str, int]:
    """A host and a port, from `HOST:PORT`; an IPv6 address is in brackets."""
    text = env[variable].strip()
    match = _ADDRESS.fullmatch(text)
    if match is None or not 0 < int(match["port"]) <= 65535:
        raise SettingError(variable, f"{text[:64]!r} is not HOST:PORT, such as 127.0.0.1:5001")
    return match["ipv6"] or match["host"], int(match["port"])


def hosts(env: Mapping[str, str], variable: str) -> tuple[str, ...]:
    """The hosts of `HOST` or `HOST:PORT`, separated by commas."""
    parts = [part.strip() for part in env[variable].split(",") if part.strip()]
    found = [(part, _ADDRESS.fullmatch(part)) for part in parts]
    return tuple((match["ipv6"] or match["host"]) if match else part for part, match in found)


def span(env: Mapping[str, str], variable: str) -> float:
    """A span of time in seconds. Only 0 needs no unit."""
    text = env[variable].strip().lower()
    match = _SPAN.fullmatch(text)
    if match is None or (not match[2] and float(match[1])):
        raise SettingError(variable, f"{text!r} is not a number with s, m, h or d, such as 7d, and not 0")
    return float(match[1]) * _SECONDS.get(match[2], 1.0)


def kept(env: Mapping[str, str], variable: str) -> float:
    """A span of time in seconds, of a day or longer."""
    seconds = span(env, variable)
    if seconds < _SECONDS["d"]:
        raise SettingError(variable, f"{env[variable].strip()!r} is less than a day: give 1d or longer")
    return seconds


def window(env: Mapping[str, str], variable: str) -> float | None:
    """A span of time in seconds, above 0; None for `none`."""
    if env[variable].strip().lower() == "none":
        return None
    seconds = span(env, variable)
    if not 0 < seconds <= LONGEST_WINDOW_S:
        raise SettingError(
            variable, f"{env[variable].strip()!r} is not above 0 and at most {LONGEST_WINDOW_S / 86_400:g}d"
        )
    return seconds


def slow(env: Mapping[str, str], variable: str) -> str:
    """A limit of slow answers, as it is written."""
    try:
        slow_limit(env[variable])
    except InvalidRequest as error:
        raise SettingError(variable, error.message) from error
    return env[variable].strip().lower()


def pair(env: Mapping[str, str], variable: str) -> tuple[float, float] | None:
    """Two numbers, the lower one first; None for `none`."""
    text = env[variable].strip()
    if text.lower() == "none":
        return None
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise SettingError(
            variable, f"{text!r} is not two numbers separated by a comma, such as 0,1, and not none"
        ) from None
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise SettingError(variable, f"{text!r}: the first number must be below the second, both finite")
    return low, high


def costs(env: Mapping[str, str], variable: str) -> CostMatrix:
    """The matrix, written out as JSON or in a file."""
    text = env[variable].strip()
    try:
        return cost_matrix(text if text.startswith("{") else Path(text).read_bytes())
    except OSError as error:
        reason = error.strerror or error
        raise SettingError(variable, f"{text[:200]!r} is neither JSON nor a file that can be read: {reason}") from error
    except InvalidRequest as error:
        raise SettingError(variable, error.message) from error


def model_name(env: Mapping[str, str], variable: str) -> str:
    """The name of a model in paths."""
    text = env[variable].strip()
    if not MODEL_NAME.fullmatch(text):
        raise SettingError(variable, f"{text!r} is not a model name (ASCII letters, digits, . _ and -, at most 63)")
    return text


def version(env: Mapping[str, str], variable: str) -> str:
    """The name of a version."""
    text = env[variable].strip()
    if not VERSION_NAME.fullmatch(text):
        raise SettingError(variable, f"{text!r} is not a version name (lower-case letters, digits and _)")
    return text
