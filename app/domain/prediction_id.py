"""Signed prediction ids: 64 URL-safe characters that say what was served, so that feedback needs no look-up.

Layout, 48 bytes, big-endian: served at (µs, 7) · process nonce (4) · counter (3) · format (1) · version ordinal (2)
· epoch (4) · flags (1) · user hash (6) · answer (8) · keyed BLAKE2b of the other 36 (12). The alphabet is base64url
reordered to ASCII order, so ids sort by time as text. 96 bits of tag: a forger has one chance in 2⁹⁶ per try.
"""

from __future__ import annotations

import binascii
import functools
import hmac
import struct
import threading
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import Any

import msgspec
import numpy as np

from app.errors import UnknownPrediction

FORMAT = 1
ID_LENGTH, RAW_LENGTH = 64, 48
# The first 27 bytes of an id identify a prediction; without the signature, no outcome is accepted by them.
SHORT_LENGTH = 36
_BODY = struct.Struct(">7s4s3sBHIB6sd")
_TAG_BYTES = 12
_COUNT_AT, _FORMAT_AT, _ORDINAL_AT, _FLAGS_AT, _ANSWER_AT = slice(11, 14), 14, slice(15, 17), 21, slice(28, 36)
_LAST_COUNT, _IDS_PER_PIECE = 0xFFFFFF, 2048
_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_SORTED = bytes(sorted(_BASE64))
_TO_SORTED = bytes.maketrans(_BASE64[:-2] + b"+/", _SORTED)
# To the standard alphabet, whose last two characters are in no id: they would be read as two others.
_TO_STANDARD = bytes.maketrans(_SORTED + b"+/", _BASE64[:-2] + b"+/" + b"!!")
# Bits of the flags. Old ids stay readable: a bit may be added, and none may change its meaning.
_COUNTS, _RANDOMISED, _STICKY, _FIRST, _SYNTHETIC, _OF_SEVERAL, _REPORTED = 1, 2, 4, 8, 16, 32, 64


class ServedFact(msgspec.Struct, frozen=True):
    """The facts that a prediction id asserts.

    `answer` is the class id, or the predicted number of a regression. `user_hash` is 0 if no user was named. `epoch` is
    the config revision, which gives the propensity. `counts` is false for answers that never enter the experiment
    (forced, synthetic). `randomised` is false if the version that answered was not chosen by chance (forced, fallback),
    so that a reward says nothing about the versions. `reported`: it is an exposure that a caller reported, which has no
    answer (ids of older releases never say so).
    """

    served_at_us: int
    version_ordinal: int
    epoch: int
    counts: bool
    randomised: bool
    user_hash: int
    answer: float
    reported: bool = False


class Marks(msgspec.Struct, frozen=True):
    """The circumstances in which the version of a logged id was chosen.

    `randomised` as in `ServedFact`; `sticky`: by the user's hash, so that the user is the unit; `first`: the id is that
    of the first row of its request; `synthetic`: the request was marked as test traffic (ids of older releases never
    say so, and count); `of_several`: its request has more than one row (those of older releases never say so).
    """

    version_ordinal: int
    randomised: bool
    sticky: bool
    first: bool
    synthetic: bool = False
    of_several: bool = False


def read_marks(prediction_id: str) -> Marks | None:
    """The marks of an id that was verified when it was logged; its tag is not checked. None for another format."""
    raw = raw_ids([prediction_id])
    return None if raw is None else marks_of_raw(raw)


def marks_of_raw(raw: bytes) -> Marks | None:
    """The marks in the bytes of an id; None for another format."""
    return _marks(int.from_bytes(raw[_ORDINAL_AT]), raw[_FLAGS_AT]) if raw[_FORMAT_AT] == FORMAT else None


def are_first_draws(raw: np.ndarray) -> np.ndarray:
    """Of ids with these bytes, shape (n, 48), which have marks that say `randomised` and `first`; shape (n,)."""
    found: np.ndarray = (raw[:, _FORMAT_AT] == FORMAT) & (~raw[:, _FLAGS_AT] & (_RANDOMISED | _FIRST) == 0)
    return found


def are_sticky(raw: np.ndarray) -> np.ndarray:
    """Of ids with these bytes, shape (n, 48), of this format, which have marks that say `sticky`; shape (n,)."""
    found: np.ndarray = raw[:, _FLAGS_AT] & _STICKY != 0
    return found


def begin_and_are_of_several(raw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of ids with these bytes, which begin a request, as those of another format do, and which are of several rows."""
    known, flags = raw[:, _FORMAT_AT] == FORMAT, raw[:, _FLAGS_AT]
    return ~known | (flags & _FIRST != 0), known & (flags & _OF_SEVERAL != 0)


@functools.lru_cache(4096)
def _marks(ordinal: int, flags: int) -> Marks:
    return Marks(
        ordinal,
        randomised=bool(flags & _RANDOMISED),
        sticky=bool(flags & _STICKY),
        first=bool(flags & _FIRST),
        synthetic=bool(flags & _SYNTHETIC),
        of_several=bool(flags & _OF_SEVERAL),
    )


class SignedIds(Sequence[str]):
    """The ids of a batch, as their bytes; the texts, which are twice as large, are made when they are asked for."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, raw: bytes | memoryview) -> None:
        self.raw = raw

    @functools.cached_property
    def texts(self) -> list[str]:
        """The ids, as a list."""
        return texts_of_ids(self.raw)

    @property
    def joined(self) -> bytes:
        """The ids one behind the other, in ASCII."""
        return _encoded(self.raw)

    def __len__(self) -> int:
        return len(self.raw) // RAW_LENGTH

    def __getitem__(self, place: Any) -> Any:
        if not isinstance(place, slice) or place.step not in (None, 1):
            return self.texts[place]
        start, end, _ = place.indices(len(self))
        return SignedIds(self.raw[start * RAW_LENGTH : end * RAW_LENGTH])

    def __iter__(self) -> Iterator[str]:
        return iter(self.texts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and self.texts == [*other]


class Signer:
    """Signs and verifies the ids of one deployment. `nonce` (4 bytes) must differ between processes."""

    def __init__(self, key: bytes, nonce: bytes) -> None:
        # Keyed once and copied for each id, which saves hashing the key every time.
        self._keyed = blake2b(key=key[:64], digest_size=_TAG_BYTES)
        self._nonce = nonce
        self._counter = int.from_bytes(blake2b(nonce, digest_size=3).digest(), "big")
        self._lock = threading.Lock()

    def sign_all(
        self,
        *,
        served_at_us: int,
        version_ordinal: int,
        epoch: int,
        counts: bool,
        randomised: bool,
        user_hash: int,
        answers: np.ndarray,
        sticky: bool = False,
        synthetic: bool = False,
        reported: bool = False,
    ) -> Sequence[str]:
        """One id for each answer of a request, in order.

        A batch is one random choice, so only its first row counts as one: `randomised` is set for that row, and the
        others are not counted as further choices. `sticky`: the choice followed from the user, so that not even the
        user's next request is a new one. `reported`: an exposure without an answer, for which `answers` has a 0.
        """
        when = served_at_us.to_bytes(7, "big")
        user = user_hash.to_bytes(6, "big")
        flags = (_COUNTS if counts else 0) | (_RANDOMISED if randomised else 0)
        flags |= _FIRST | (_STICKY if sticky else 0) | (_SYNTHETIC if synthetic else 0)
        flags |= (_OF_SEVERAL if len(answers) > 1 else 0) | (_REPORTED if reported else 0)
        first = self._reserve(len(answers)) + 1
        number = (first & _LAST_COUNT).to_bytes(3, "big")
        answer = answers.item(0)
        body = _BODY.pack(when, self._nonce, number, FORMAT, version_ordinal, epoch, flags, user, answer)
        if len(answers) == 1:
            return texts_of_ids(body + self._tag(body))
        raw = np.empty((len(answers), RAW_LENGTH), np.uint8)
        raw[:, : len(body)] = np.frombuffer(body, np.uint8)
        raw[1:, _FLAGS_AT] = flags & ~(_RANDOMISED | _FIRST)
        # Piece by piece: what is made on the way takes several times the memory of the ids.
        for start in range(0, len(raw), _IDS_PER_PIECE):
            piece = slice(start, start + _IDS_PER_PIECE)
            self._sign(raw[piece], first + start, answers[piece])
        return SignedIds(raw.reshape(-1).data)

    def _sign(self, raw: np.ndarray, number: int, answers: np.ndarray) -> None:
        """Write numbers from `number` on, the answers and the tags into the ids with these bytes, shape (n, 48)."""
        counts = np.arange(number, number + len(answers)) & _LAST_COUNT
        raw[:, _COUNT_AT] = counts.astype(">u4").view(np.uint8).reshape(-1, 4)[:, 1:]
        raw[:, _ANSWER_AT] = answers.astype(">f8").view(np.uint8).reshape(-1, 8)
        bodies = np.ascontiguousarray(raw[:, :-_TAG_BYTES]).view(f"V{_BODY.size}")[:, 0].tolist()
        raw[:, -_TAG_BYTES:] = np.frombuffer(b"".join(self._tags(bodies)), np.uint8).reshape(-1, _TAG_BYTES)

    def _tag(self, body: bytes) -> bytes:
        tag = self._keyed.copy()
        tag.update(body)
        return tag.digest()

    def _tags(self, bodies: Sequence[bytes]) -> list[bytes]:
        # Written out: a call for each costs a quarter of the time of a large batch's ids.
        tags, copy = [], self._keyed.copy
        for body in bodies:
            tag = copy()
            tag.update(body)
            tags.append(tag.digest())
        return tags

    def verify(self, prediction_id: str) -> ServedFact:
        """The facts that the id asserts. Raises `UnknownPrediction` if this deployment did not sign it."""
        raw = raw_ids([prediction_id])
        if raw is None:
            raise UnknownPrediction("that is not a prediction id of this service", field="prediction_id")
        body, tag = raw[:-_TAG_BYTES], raw[-_TAG_BYTES:]
        if not hmac.compare_digest(self._tag(body), tag):
            raise UnknownPrediction("the prediction id was not issued by this deployment", field="prediction_id")
        when, _nonce, _counter, _format, ordinal, epoch, flags, user, answer = _BODY.unpack(body)
        return ServedFact(
            served_at_us=int.from_bytes(when, "big"),
            version_ordinal=ordinal,
            epoch=epoch,
            counts=bool(flags & _COUNTS),
            randomised=bool(flags & _RANDOMISED),
            user_hash=int.from_bytes(user, "big"),
            answer=answer,
            reported=bool(flags & _REPORTED),
        )

    def _reserve(self, count: int) -> int:
        # The log knows a prediction by time, nonce and counter: threads must not get the same numbers.
        with self._lock:
            start = self._counter
            self._counter = (start + count) & _LAST_COUNT
        return start


def raw_ids(ids: Sequence[str]) -> bytes | None:
    """The ids' bytes, `RAW_LENGTH` each, one behind the other; None unless `texts_of_ids` gives each of them back."""
    if isinstance(ids, SignedIds):
        return bytes(ids.raw)
    text = "".join(ids)
    return raw_of_joined(text.encode("ascii")) if text.isascii() and {*map(len, ids)} <= {ID_LENGTH} else None


def raw_of_joined(texts: bytes | memoryview) -> bytes | None:
    """The bytes of ids, given one behind the other in ASCII, `ID_LENGTH` each; None where these are not ids."""
    try:
        raw = binascii.a2b_base64(bytes(texts).translate(_TO_STANDARD), strict_mode=True)
    except ValueError:
        return None
    return raw if len(raw) * ID_LENGTH == len(texts) * RAW_LENGTH else None  # it is shorter where padding ends it


def texts_of_ids(raw: bytes | memoryview) -> list[str]:
    """The ids with these bytes, `RAW_LENGTH` each."""
    # All in one call: 48 bytes are 64 characters without padding, so the text can be cut afterwards.
    text = _encoded(raw).decode("ascii")
    return [text[start : start + ID_LENGTH] for start in range(0, len(text), ID_LENGTH)]


def served_at_bytes(at_us: int) -> bytes:
    """What the bytes of an id that was served at this time (µs since 1970) begin with: 7 bytes that sort by time."""
    return min(max(at_us, 0), 2**56 - 1).to_bytes(7, "big")


def raw_bounds(beginning: str) -> tuple[bytes, bytes] | None:
    """The least and the greatest bytes of ids that begin with this text; None where no id does."""
    ends = [raw_ids([beginning.ljust(ID_LENGTH, each)]) for each in (chr(_SORTED[0]), chr(_SORTED[-1]))]
    return None if ends[0] is None or ends[1] is None else (ends[0], ends[1])


def _encoded(raw: bytes | memoryview) -> bytes:
    return binascii.b2a_base64(raw, newline=False).translate(_TO_SORTED)


def user_hash(salt: bytes, user_id: str) -> int:
    """The 48 bits that stand for a user in ids and the log; never 0, which means that no user was named.

    Salted, so that a log alone does not tell whether a known user is in it.
    """
    return int.from_bytes(blake2b(user_id.encode(), key=salt[:64], digest_size=6).digest(), "big") or 1
