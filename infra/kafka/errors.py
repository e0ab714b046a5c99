"""The one error of this package."""

from __future__ import annotations


class BrokerError(RuntimeError):
    """Kafka could not be fetched or started; says what was wrong and what to do."""
