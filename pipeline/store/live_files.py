"""The files of a store while it is open: which are live, which are being merged, which are to be deleted."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor, Future
from pathlib import Path

from pipeline.store.compaction import POLICIES, FileSet, Merge, Merged, merge_files
from pipeline.store.files import remove_file
from pipeline.store.layout import hour_of
from pipeline.store.ledger import Change, Head
from pipeline.store.manifest import FileTotals, Kind, StoreFile

_LOG = logging.getLogger(__name__)


class LiveFiles:
    """Follows the ledger, commit by commit. `of` may be called from any thread.

    `known` are the ledger's files with the time (ms) at which they were superseded, None for live ones. Merges run in
    `executor`; superseded files are deleted `grace` ms later.
    """

    def __init__(
        self, root: Path, known: Iterable[tuple[StoreFile, int | None]], executor: Executor, grace: int
    ) -> None:
        self._root = root
        self._executor = executor
        self._grace = grace
        self._guard = threading.Lock()
        self._files = FileSet(file for file, superseded_at in known if superseded_at is None)
        self._superseded = {file.path: since for file, since in known if since is not None}
        self._deleted: list[str] = []
        self._merging: dict[Kind, tuple[Merge, Future[Merged]]] = {}

    def of(self, kind: Kind) -> tuple[StoreFile, ...]:
        """Return the live files of one kind, oldest first."""
        with self._guard:
            return self._files.of(kind)

    def totals(self) -> dict[Kind, FileTotals]:
        """Return how much the live files hold, by kind."""
        with self._guard:
            return self._files.totals()

    def before_horizon(self, horizon: int) -> list[StoreFile]:
        """Return the window segments in which every vote is too old."""
        return self._files.before_horizon(horizon)

    def deleted(self) -> tuple[str, ...]:
        """Return the files that have been deleted and that the ledger still names."""
        return tuple(self._deleted)

    def finished_merges(self) -> list[Merged]:
        """Return the merges that the next commit can swap in. They are offered until `accept` has seen them."""
        finished = []
        for kind, (merge, merging) in list(self._merging.items()):
            if not merging.done():
                continue
            if (error := merging.exception()) is None:
                finished.append(merging.result())
            else:
                _LOG.error("cannot merge files of %s; it goes on with small ones", self._root, exc_info=error)
                self._files.postpone(merge)
                del self._merging[kind]
        return finished

    def accept(self, change: Change, before: Head, merged: Sequence[Merged] = ()) -> None:
        """Follow a change of the ledger that has become durable.

        `before` is the head that it replaced, `merged` the merges that it swapped in.
        """
        with self._guard:
            for file in change.files:
                self._files.add(file)
            for path in change.superseded:
                self._files.remove(path)
                self._superseded[path] = change.head.created
            self._files.close_hours(hour_of(before.log_time), hour_of(change.head.log_time))
        self._deleted = self._deleted[len(change.forgotten) :]
        for each in merged:
            del self._merging[each.sources[0].kind]
        for kind, (merge, merging) in list(self._merging.items()):
            # Where the horizon has passed a source, what is being merged is out of date.
            if not {source.path for source in merge.sources}.isdisjoint(change.superseded):
                merging.add_done_callback(self._remove_result)
                del self._merging[kind]

    def _remove_result(self, merging: Future[Merged]) -> None:
        if not merging.cancelled() and merging.exception() is None and (result := merging.result().result):
            remove_file(self._root / result.path)

    def start_merges(self, head: Head) -> None:
        """Begin the next merge of each kind in the background, unless one is under way."""
        for kind in POLICIES.keys() - self._merging.keys():
            with self._guard:
                merge = self._files.next_merge(kind, hour_of(head.log_time))
            if merge is not None:
                merging = self._executor.submit(merge_files, self._root, merge, head.horizon)
                self._merging[kind] = (merge, merging)

    def sweep(self, now: int) -> None:
        """Delete files that were superseded long enough ago."""
        for path, since in list(self._superseded.items()):
            if since + self._grace <= now:
                remove_file(self._root / path)
                del self._superseded[path]
                self._deleted.append(path)
