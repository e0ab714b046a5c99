"""What readers of a store may meet. Writers raise `pipeline.contracts.store.StoreError`."""

from __future__ import annotations

from pipeline.contracts.store import StoreError


class ReaderError(StoreError):
    """What was asked for is not in the store. Says what is missing and what to run.

    `retriable` tells whether the same question may be answered later without anybody repairing anything.
    """

    def __init__(self, message: str, *, retriable: bool = False) -> None:
        super().__init__(message)
        self.retriable = retriable
