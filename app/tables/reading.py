"""Read a file as a table: which kind of file it is follows from its content, not from its name."""

from __future__ import annotations

import codecs
from pathlib import Path

import pyarrow as pa

from app.tables.delimited import read_delimited
from app.tables.parquet import read_parquet
from app.tables.table import Table, TableRefused

_PARQUET = b"PAR1"
_OTHER_KINDS = {
    b"PK\x03\x04": "a workbook or another zip archive: save the sheet as CSV in UTF-8",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook: save the sheet as CSV in UTF-8",
    b"\x1f\x8b": "compressed with gzip: unpack it",
    b"BZh": "compressed with bzip2: unpack it",
    b"\xfd7zXZ": "compressed with xz: unpack it",
    b"(\xb5/\xfd": "compressed with zstd: unpack it",
    b"ARROW1": "an Arrow or Feather file: write it as Parquet",
}
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_UTF32 = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)


def read_table(source: Path | bytes, origin: str | None = None, *, ragged: bool = False) -> Table:
    """The table in a CSV file (UTF-8, or UTF-16 with its byte order mark) or in a Parquet file, with at least one row.

    `origin` names the file in refusals (default: the path). `ragged`: rows with more or fewer fields than the header
    are noted in the table, instead of refused. Raises `TableRefused` with the reason, and the line.
    """
    origin = origin or (str(source) if isinstance(source, Path) else "the file")
    raw = source if isinstance(source, bytes) else _content(source, origin)
    if raw.startswith(_PARQUET):
        return read_parquet(pa.BufferReader(raw), origin)
    table = read_delimited(_text(raw, origin), origin)
    if table.ragged and not ragged:
        row = table.ragged[0]
        raise TableRefused(f"{origin}, line {row.line}: {row.fields} fields where the header has {len(table.columns)}")
    return table


def _content(path: Path, origin: str) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise TableRefused(f"there is no file {origin}") from None
    except OSError as error:
        raise TableRefused(f"{origin} cannot be read: {error.strerror or error}") from error


def _text(raw: bytes, origin: str) -> str:
    what = next((what for start, what in _OTHER_KINDS.items() if raw.startswith(start)), None)
    if what is not None:
        raise TableRefused(f"{origin} is not a CSV or Parquet file but {what}")
    if raw.startswith(_UTF16) and not raw.startswith(_UTF32):
        try:
            return raw.decode("utf-16")
        except UnicodeDecodeError:
            raise TableRefused(f"{origin} is damaged UTF-16 text: save it as CSV in UTF-8") from None
    # Before decoding: UTF-16 text may decode as UTF-8, with a NUL after every letter.
    if b"\0" in raw:
        raise TableRefused(f"{origin} is not UTF-8 text (UTF-16 or a binary file?): save it as CSV in UTF-8")
    try:
        # Spreadsheets write a byte order mark, which would be part of the first name.
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = 1 + len(raw[: error.start].splitlines()[1:]) + raw[: error.start].endswith((b"\n", b"\r"))
        raise TableRefused(
            f"{origin}, line {line}: not UTF-8 text (byte 0x{raw[error.start]:02x} at offset {error.start}; Latin-1 "
            "or Windows-1252?): save it as CSV in UTF-8"
        ) from None
