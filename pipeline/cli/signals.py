"""Stopping cleanly: what SIGINT, SIGTERM and SIGHUP do to commands that run until they are stopped."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """Set the event on the first SIGINT, SIGTERM or SIGHUP; a second one ends the process as usual.

    SIGHUP, which a closed terminal sends, is left alone where it is ignored (nohup).
    """
    stop = threading.Event()
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()
        for number in numbers:
            signal.signal(number, before[number])

    for number in numbers:
        signal.signal(number, on_signal)
    try:
        yield stop
    finally:
        for number in numbers:
            signal.signal(number, before[number])
