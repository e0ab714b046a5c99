"""Several workers in one process end together."""

from __future__ import annotations

import concurrent.futures
import signal
import sys
import threading
from types import FrameType
from typing import cast

import pytest

from generation.worker.crew import run_crew
from generation.worker.worker import Worker
from pipeline.cli.signals import stop_on_signals
from tests.conftest import wait_until


class FakeWorker:
    """Runs until it is stopped, or fails when all have begun."""

    def __init__(self, begun: threading.Barrier, failure: Exception | None = None) -> None:
        self.begun = begun
        self.failure = failure

    def run(self, stop: threading.Event) -> None:
        self.begun.wait(10)
        if self.failure is not None:
            raise self.failure
        assert stop.wait(20)


def make_crew(*failures: Exception | None) -> list[Worker]:
    begun = threading.Barrier(len(failures))
    return [cast(Worker, FakeWorker(begun, failure)) for failure in failures]


def is_main_thread_waiting() -> bool:
    """Whether the main thread waits for futures."""
    frame: FrameType | None = sys._current_frames()[cast(int, threading.main_thread().ident)]
    if frame is None or frame.f_code.co_filename != threading.__file__:
        return False
    while frame is not None and frame.f_code.co_filename != concurrent.futures._base.__file__:
        frame = frame.f_back
    return frame is not None


def test_one_that_fails_stops_the_others() -> None:
    stop = threading.Event()
    with pytest.raises(ZeroDivisionError):
        run_crew(make_crew(None, ZeroDivisionError(), None), stop)
    assert stop.is_set()


def test_a_signal_that_another_thread_receives_stops_the_crew() -> None:
    """The kernel hands a signal to whichever thread it likes; the main thread must look now and then."""

    class Signalled(FakeWorker):
        def run(self, stop: threading.Event) -> None:
            wait_until(is_main_thread_waiting)
            signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
            super().run(stop)

    with stop_on_signals() as stop:
        run_crew([cast(Worker, Signalled(threading.Barrier(1)))], stop)
        assert stop.is_set()
