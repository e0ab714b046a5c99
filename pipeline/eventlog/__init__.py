"""The event log: SQLite and files behind the protocols of `pipeline.contracts.log`."""

from pipeline.eventlog.urls import open_log

__all__ = ["open_log"]
