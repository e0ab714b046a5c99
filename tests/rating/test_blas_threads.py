"""The limit of one BLAS thread is counted: overlapping fits do not give each other threads back."""

from __future__ import annotations

from threading import Thread

from pipeline.rating.blas_threads import blas_controller, single_blas_thread


def threads() -> set[int]:
    return {info["num_threads"] for info in blas_controller().info()}


def test_single_blas_thread_overlaps_and_restores() -> None:
    with blas_controller().limit(limits=2):
        before = threads()
        first, second = single_blas_thread(), single_blas_thread()
        first.__enter__()
        assert threads() == {1}
        second.__enter__()
        first.__exit__(None, None, None)
        # the second is still in a fit
        assert threads() == {1}
        second.__exit__(None, None, None)
        assert threads() == before


def test_any_thread_may_begin_and_any_may_end() -> None:
    """One thread has the say in threadpoolctl, which passes over the others without a word."""
    with single_blas_thread():
        pass  # this thread had it
    seen: list[set[int]] = []

    def fit() -> None:
        with single_blas_thread():
            seen.append(threads())

    with blas_controller().limit(limits=2):
        before = threads()
        thread = Thread(target=fit)
        thread.start()
        thread.join()
        assert seen == [{1}]
        assert threads() == before
