"""Whether the log is the one that the store has read: a position in another log would pass votes over unnoticed."""

from __future__ import annotations

from pipeline.contracts.log import EventLog, LogError, LogUnavailable, Position, TopicPartition
from pipeline.operators.rate import Rate

_START = Position(0)


class KnownLog:
    """The identities of `log`'s partitions, as the store of `rate` has them.

    They are asked for once a partition, when something of it was read: commits stay as quick as they are.
    """

    def __init__(self, log: EventLog, rate: Rate) -> None:
        self._log = log
        self._rate = rate
        self._asked: set[TopicPartition] = set(rate.identities)

    def check(self) -> None:
        """Raise `LogError` if a partition that the store has read is another one now."""
        known = self._rate.identities
        for source, identity in sorted(self._log.identities(list(known)).items()):
            if identity != known[source]:
                raise LogError(
                    f"{self._log.url}, {source.topic}/{source.partition}: this is not the log that the store has read: "
                    f"it was {known[source]} and is {identity}. Put the right log back (files are numbered by their "
                    "names: add files that sort last), or start a new store on this one."
                )

    def note(self) -> None:
        """Let the next commit say what was read; an archive without positions needs no log."""
        rate = self._rate
        if not rate.keeps_positions:
            return
        news = [source for source, mark in rate.fence.marks.items() if mark > _START and source not in self._asked]
        if not news:
            return
        try:
            rate.note_identities(self._log.identities(news))
        except LogUnavailable:
            return  # the next commit asks again
        self._asked.update(news)
