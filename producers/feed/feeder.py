"""Feeds portions of records to a writer, each when it is due."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from pipeline.contracts.log import CONTENT_TYPE
from pipeline.contracts.vote_batch import encode_rows_singly
from producers.feed.pacer import Pacer
from producers.feed.portions import Events, JsonVotes, Portion, RowVotes, StrangeRecord
from producers.outgoing_vote import read_ids
from producers.vote_writer import VoteWriter

AppendEvents = Callable[[Sequence[bytes]], None]
"""Appends control events to the log that is fed; they are in it on return."""


@dataclass(slots=True)
class FeedSummary:
    """What was fed.

    Attributes
    ----------
    votes, events : int
    left_out : int
        Records that the log fed cannot hold.
    stopped : bool
        Whether it was asked to stop before the end.
    """

    votes: int = 0
    events: int = 0
    left_out: int = 0
    stopped: bool = False


class Feeder:
    """Feeds one log.

    Parameters
    ----------
    writer : its records are unchecked: faults are fed, too, to become dead letters again
    append_events : None: the log holds no control events; they are left out
    pacer : when records are due
    advance : told how many votes were written
    """

    def __init__(
        self,
        writer: VoteWriter,
        append_events: AppendEvents | None,
        pacer: Pacer,
        *,
        advance: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.summary = FeedSummary()
        self._writer = writer
        self._append_events = append_events
        self._pacer = pacer
        self._advance = advance

    def feed(self, portions: Iterable[Portion]) -> FeedSummary:
        """Write `portions` and wait until they are in the log. Raises as the writer does."""
        for portion in portions:
            start, count = 0, len(portion.times)
            while start < count:
                due = self._pacer.count_due(portion.times[start:])
                if not due:
                    self.summary.stopped = True
                    self._writer.flush()
                    return self.summary
                self._write(portion, start, start + due)
                start += due
        self._writer.flush()
        return self.summary

    def _write(self, portion: Portion, start: int, stop: int) -> None:
        if isinstance(portion, Events):
            self._write_events(portion.values[start:stop])
            return
        count = stop - start
        if isinstance(portion, JsonVotes):
            self._write_json(portion.values[start:stop])
        elif isinstance(portion, RowVotes):
            rows = portion.rows.slice(start, count)
            if self._writer.makes_envelopes:
                self._writer.write_rows(rows)
            else:
                self._write_json(encode_rows_singly(rows))
        else:
            self._write_strange(portion)
        self.summary.votes += count
        self._advance(count)

    def _write_json(self, values: Sequence[bytes]) -> None:
        self._writer.write_records(values, [read_ids(value)[1] for value in values])

    def _write_strange(self, record: StrangeRecord) -> None:
        if self._writer.makes_envelopes:
            self._writer.write_record(record.value, None, {CONTENT_TYPE: record.content_type})
        else:
            self.summary.left_out += 1

    def _write_events(self, values: Sequence[bytes]) -> None:
        if self._append_events is None:
            self.summary.left_out += len(values)
            return
        self._writer.flush()  # what was in force for the votes before is so again
        self._append_events(values)
        self.summary.events += len(values)
