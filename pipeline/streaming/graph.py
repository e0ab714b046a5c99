"""The main job as a Beam graph: read the log, ingest, rate.

::

    Impulse -> ReadLog (SDF) -> IngestVotes (stateless) -> RateVotes (stateful, one key: the owner)

On the embedded runner all of it is one fused stage, which is what makes it live: an element reaches the end of the
graph before the next one is read, and a bundle ends, and commits, after half a second. Behind a shuffle, a GroupByKey
or a Flatten nothing would come out before the source ends; this is why one source reads all topics, and why a batch of
votes is one element.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam import coders
from apache_beam.io.restriction_trackers import OffsetRange, OffsetRestrictionTracker
from apache_beam.metrics import Metrics
from apache_beam.transforms.core import RestrictionProvider
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec

from pipeline.contracts.keyring_file import KeyringFile
from pipeline.contracts.log import Poll
from pipeline.contracts.reasons import Reason
from pipeline.operators.ingest import CheckToken
from pipeline.streaming.elements import Ingested, ingest_votes
from pipeline.streaming.owner import Owner, find_owner

BUNDLE_S = 0.5
"""A bundle ends, and commits, after this long; a bundle costs 5 to 9 ms."""
_POLL_S = 0.2
_ENDLESS = 1 << 62
_LOGGER = logging.getLogger("kwise.tokens")


class _EndlessProvider(RestrictionProvider):
    """Elements are numbered; where the log was read to is in the store's commit and nowhere else."""

    def initial_restriction(self, _element: str) -> OffsetRange:
        return OffsetRange(0, _ENDLESS)

    def create_tracker(self, restriction: OffsetRange) -> OffsetRestrictionTracker:
        return OffsetRestrictionTracker(restriction)

    def restriction_size(self, _element: str, _restriction: OffsetRange) -> int:
        return 1


class PollLogFn(beam.DoFn):
    """Polls the owner's log for half a second a bundle; emits a tick when nothing came."""

    @beam.DoFn.unbounded_per_element()
    def process(
        self,
        owner_key: str,
        tracker: Any = beam.DoFn.RestrictionParam(_EndlessProvider()),  # noqa: B008 - Beam's way to declare it
    ) -> Iterator[tuple[str, Poll]]:
        """Emit polls until the bundle is over; go on in the next, until the log ends or the owner is stopped."""
        owner = find_owner(owner_key)
        with owner.noting_failure():
            owner.begin_reading()
        deadline = time.monotonic() + BUNDLE_S
        first = tracker.current_restriction().start
        number = first
        # Claimed before it is polled: what was taken from the reader must go out.
        while tracker.try_claim(number):
            with owner.noting_failure():
                poll = self._poll(owner, deadline)
            if poll is None and number > first:
                break
            yield owner_key, Poll(owner.clock()) if poll is None else poll
            number += 1
            if poll is None or number - first == owner.bundle_polls:
                break
        if owner.stop.is_set() or owner.at_end():
            tracker.try_claim(_ENDLESS - 1)
        else:
            tracker.defer_remainder()

    def _poll(self, owner: Owner, deadline: float) -> Poll | None:
        """Return the next poll with something in it; None when the bundle is to end."""
        while not owner.stop.is_set() and not owner.at_end():
            left = deadline - time.monotonic()
            if left <= 0:
                break
            poll = owner.poll(min(_POLL_S, left))
            if poll.votes.spans or poll.control.spans:
                return poll
        return None


class IngestFn(beam.DoFn):
    """Decodes and checks the votes of a poll. Stateless.

    Parameters
    ----------
    row_times : bool
        Whether the log's records of many votes state the append time of each, and may be large: see `ingest_votes`.
    token_keys : file or None
        Keys that tokens are checked with; without them no token is right. Each process opens the file for itself:
        secrets are no part of a graph.
    """

    def __init__(self, row_times: bool, token_keys: Path | None) -> None:
        self._row_times = row_times
        self._token_keys = token_keys
        self._check_token: CheckToken | None = None

    def setup(self) -> None:
        """Open the keys."""
        if self._token_keys is not None:
            self._check_token = KeyringFile(self._token_keys, complain=_LOGGER.warning).check

    def process(self, element: tuple[str, Poll]) -> Iterator[tuple[str, Ingested]]:
        """Emit the poll with its votes decoded."""
        owner_key, poll = element
        decoded = ingest_votes(poll.votes, row_times=self._row_times, check_token=self._check_token)
        yield owner_key, Ingested(poll.now, poll.control, decoded)


class RateFn(beam.DoFn):
    """Feeds the owner's operator and commits at the end of each bundle.

    The engine's state holds the number of the commit that the bundle is to make. If the operator's memory does not
    agree at the next bundle's first element, it is loaded from the store.
    """

    COMMIT = ReadModifyWriteStateSpec("commit", coders.VarIntCoder())

    def __init__(self) -> None:
        self._accepted = Metrics.counter("kwise", "accepted")
        self._duplicates = Metrics.counter("kwise", "duplicates")
        self._dead = {reason: Metrics.counter("kwise", f"dead_{reason}") for reason in Reason}

    def start_bundle(self) -> None:
        """Start a bundle."""
        self._owner_key: str | None = None

    def process(
        self,
        element: tuple[str, Ingested],
        commit: Any = beam.DoFn.StateParam(COMMIT),  # noqa: B008 - Beam's way to declare it
    ) -> None:
        """Rate one poll."""
        owner_key, ingested = element
        owner = find_owner(owner_key)
        with owner.noting_failure():
            if self._owner_key is None:
                self._owner_key = owner_key
                owner.begin_bundle(commit.read())
                commit.write(owner.rate.last_commit + 1)
            tally = owner.rate.tally
            accepted, duplicates, dead = tally.accepted, tally.duplicates, dict(tally.dead)
            owner.process(ingested.now, ingested.control, ingested.decoded)
            self._accepted.inc(tally.accepted - accepted)
            self._duplicates.inc(tally.duplicates - duplicates)
            for reason, count in tally.dead.items():
                if count > dead.get(reason, 0):
                    self._dead[Reason(reason)].inc(count - dead.get(reason, 0))

    def finish_bundle(self) -> None:
        """Commit."""
        if self._owner_key is None:
            return
        owner = find_owner(self._owner_key)
        with owner.noting_failure():
            owner.commit()


class ReadLog(beam.PTransform):
    """Owner key -> polls of its log."""

    def expand(self, pcoll: Any) -> Any:
        """Wire."""
        return pcoll | beam.ParDo(PollLogFn()).with_output_types(tuple[str, Poll])


class IngestVotes(beam.PTransform):
    """Polls -> decoded polls."""

    def __init__(self, row_times: bool, token_keys: Path | None) -> None:
        super().__init__()
        self._row_times = row_times
        self._token_keys = token_keys

    def expand(self, pcoll: Any) -> Any:
        """Wire."""
        return pcoll | beam.ParDo(IngestFn(self._row_times, self._token_keys)).with_output_types(tuple[str, Ingested])


class RateVotes(beam.PTransform):
    """Decoded polls -> commits in the store."""

    def expand(self, pcoll: Any) -> Any:
        """Wire."""
        return pcoll | beam.ParDo(RateFn())


def build_graph(pipeline: Any, owner_key: str, *, row_times: bool = False, token_keys: Path | None = None) -> Any:
    """Put the job of one owner into `pipeline`; `row_times` and `token_keys` as for `IngestFn`."""
    return (
        pipeline
        | "Owner" >> beam.Create([owner_key])
        | "ReadLog" >> ReadLog()
        | "IngestVotes" >> IngestVotes(row_times, token_keys)
        | "RateVotes" >> RateVotes()
    )
