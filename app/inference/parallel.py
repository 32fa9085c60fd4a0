"""Use every core for one large batch: ONNX Runtime and NumPy let go of the interpreter's lock while they compute."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import numpy as np

Answer = TypeVar("Answer")


def spread(answer: Callable[[np.ndarray], Answer], rows: np.ndarray, smallest: int) -> list[Answer]:
    """`answer` of consecutive blocks of the rows, in order: one block a core, none below `smallest` rows.

    The caller's thread takes the first block. Raises what `answer` raises.
    """
    blocks = np.array_split(rows, max(1, min(_cores(), len(rows) // max(smallest, 1))))
    others = [_pool(os.getpid()).submit(answer, block) for block in blocks[1:]]
    return [answer(blocks[0]), *(other.result() for other in others)]


@cache
def _cores() -> int:
    """The cores that this process may run on, which in a container are fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _pool(_process_id: int) -> ThreadPoolExecutor:
    """The helpers of one process: threads do not survive a fork, so a worker makes its own."""
    return ThreadPoolExecutor(max_workers=_cores(), thread_name_prefix="inference")
