"""Connections to the dispatcher's file: one that writes, shared by group commit, and some that read.

A flush to disk takes milliseconds on common disks, far longer than the work of a transaction. So pieces of work that
arrive while one transaction is under way are done together in the next one: 500 voters at once cost a handful of
flushes. Each piece still sees what the ones before it did, and a failing one takes none of the others with it.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Generic, TypeVar

from producers.dispatcher.errors import DispatcherError
from producers.dispatcher.schema import explain_error, explained, open_connection

T = TypeVar("T")
_READERS_KEPT = 16


class _Piece(Generic[T]):
    """One piece of work, and what came of it."""

    def __init__(self, work: Callable[[sqlite3.Connection], T], *, durable: bool) -> None:
        self.durable = durable
        self.over = False
        self._work = work
        self._answers: list[T] = []
        self._error: BaseException | None = None

    def attempt(self, connection: sqlite3.Connection) -> None:
        """Do the work inside the transaction; if it raises, undo this piece alone."""
        connection.execute("SAVEPOINT piece")
        try:
            self._answers.append(self._work(connection))
        except Exception as error:
            connection.execute("ROLLBACK TO piece")
            self._error = error
        connection.execute("RELEASE piece")

    def fail(self, error: BaseException) -> None:
        """Note that the transaction failed: whatever the work answered does not hold."""
        self._answers.clear()
        self._error = self._error or error

    def answer(self) -> T:
        """Return what the work returned, or raise what it or its transaction raised."""
        if self._error is not None:
            raise self._error
        return self._answers[0]


class GroupWriter:
    """Does pieces of work in transactions, many in one where many wait. For any number of threads.

    Parameters
    ----------
    path : the dispatcher's file
    durable : whether pieces that ask for it are flushed to disk before they return
    """

    def __init__(self, path: Path, *, durable: bool) -> None:
        self._path = path
        self._durable = durable
        self._connection: sqlite3.Connection | None = open_connection(path)
        self._flushes: bool | None = None
        self._arrival = threading.Lock()
        self._turn = threading.Lock()
        self._waiting: list[_Piece[Any]] = []

    def run(self, work: Callable[[sqlite3.Connection], T], *, durable: bool = True) -> T:
        """Do `work` on the connection in a transaction, and return what it returns once that is committed.

        `work` must not commit, and must leave alone what is not in the database: its transaction may fail afterwards.
        ``durable=False``: survives the end of the process, but perhaps not a power cut.
        Raises what `work` raises, with nothing of it done, or `DispatcherError`.
        """
        piece = _Piece(work, durable=durable)
        self._do([piece])
        with explained(self._path):
            return piece.answer()

    def run_all(
        self, works: Iterable[Callable[[sqlite3.Connection], T]], *, durable: bool = True
    ) -> list[T | Exception]:
        """Do `works` one after the other, as `run` does each; return what each returned or raised."""
        pieces = [_Piece(work, durable=durable) for work in works]
        self._do(pieces)
        outcomes: list[T | Exception] = []
        for piece in pieces:
            try:
                with explained(self._path):
                    outcomes.append(piece.answer())
            except Exception as error:
                outcomes.append(error)
        return outcomes

    def close(self) -> None:
        """Let go of the file. Idempotent."""
        with self._turn:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _do(self, pieces: Sequence[_Piece[Any]]) -> None:
        with self._arrival:
            self._waiting.extend(pieces)
        with self._turn:
            if not all(piece.over for piece in pieces):  # whoever had the turn before may have done them
                with self._arrival:
                    waiting, self._waiting = self._waiting, []
                self._commit(waiting)

    def _commit(self, pieces: list[_Piece[Any]]) -> None:
        connection = self._connection
        try:
            if connection is None:
                raise DispatcherError("the dispatcher was closed")
            self._set_flushes(connection, any(piece.durable for piece in pieces))
            connection.execute("BEGIN IMMEDIATE")
            for piece in pieces:
                piece.attempt(connection)
            connection.execute("COMMIT")
        except BaseException as error:
            if connection is not None and connection.in_transaction:
                with suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
            meaning = explain_error(error, self._path) if isinstance(error, sqlite3.Error) else error
            for piece in pieces:
                piece.fail(meaning)
            if not isinstance(error, Exception):
                raise
        finally:
            for piece in pieces:
                piece.over = True

    def _set_flushes(self, connection: sqlite3.Connection, wanted: bool) -> None:
        """Let the next commit flush, or not; commits that did not are flushed by the next one that does."""
        if wanted != self._flushes:
            level = ("FULL" if self._durable else "OFF") if wanted else ("NORMAL" if self._durable else "OFF")
            connection.execute(f"PRAGMA synchronous = {level}")
            self._flushes = wanted


class ReaderPool:
    """Connections that read what is committed, lent to one thread at a time; more are opened as they are needed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._free: list[sqlite3.Connection] = []
        self._closed = False

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection. What is read in one statement is one state; close cursors or read them to their end."""
        with self._lock:
            if self._closed:
                raise DispatcherError("the dispatcher was closed")
            connection = self._free.pop() if self._free else None
        if connection is None:
            connection = open_connection(self._path)
        try:
            with explained(self._path):
                yield connection
        finally:
            with self._lock:
                keep = not self._closed and len(self._free) < _READERS_KEPT
                if keep:
                    self._free.append(connection)
            if not keep:
                connection.close()

    def close(self) -> None:
        """Close what is not lent. Idempotent."""
        with self._lock:
            self._closed = True
            free, self._free = self._free, []
        for connection in free:
            connection.close()
