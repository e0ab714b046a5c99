"""Requests that wait for the same thing are served together, by one thread.

A hop to a thread and back costs as much as the look-up that it is made for, and many threads in Python take turns at
one lock: at 500 voters at once they would mostly wait for each other. So one thread takes all that has come until now,
does it in one transaction, and takes what came meanwhile. Alone, a request waits for nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

from producers.gateway.threads import Threads

Q = TypeVar("Q")
A = TypeVar("A")

_MOST: Final = 128
"""Served in one go: the first of them waits for the last."""


class Batches(Generic[Q, A]):
    """Answers questions, many at a time. For one event loop.

    Parameters
    ----------
    answer_all
        Called in a thread; returns an answer, or an exception, for each question.
    threads
    """

    def __init__(self, answer_all: Callable[[Sequence[Q]], Sequence[A | Exception]], threads: Threads) -> None:
        self._answer_all = answer_all
        self._threads = threads
        self._waiting: list[tuple[Q, asyncio.Future[A]]] = []
        self._worker: asyncio.Task[None] | None = None

    async def ask(self, question: Q) -> A:
        """Return the answer, or raise it if it is an exception."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[A] = loop.create_future()
        self._waiting.append((question, future))
        if self._worker is None:
            self._worker = loop.create_task(self._work())
        return await future

    async def _work(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
                await self._serve(batch)
        finally:
            self._worker = None

    async def _serve(self, batch: list[tuple[Q, asyncio.Future[A]]]) -> None:
        answers: Sequence[A | Exception]
        try:
            answers = await self._threads.run(self._answer_all, [question for question, _ in batch])
        except Exception as error:
            answers = [error] * len(batch)
        for (_, future), answer in zip(batch, answers, strict=True):
            if future.done():  # whoever asked has gone
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)
