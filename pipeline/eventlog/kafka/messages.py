"""Takes messages from a consumer and makes columns of them, with few Python steps a message."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Consumer, KafkaError, Message
from numpy.typing import NDArray

from pipeline.contracts.log import CONTENT_TYPE

_CHUNK = 4000  # messages between two looks at the size of what was taken


class Columns(NamedTuple):
    """Messages as columns, length n; `append_time` tells whether the times are those of the log.

    `content_types` is None where no message has one.
    """

    offsets: NDArray[np.int64]
    times: NDArray[np.int64]
    values: list[bytes]
    content_types: list[str | None] | None
    append_time: bool


def take_messages(
    consumer: Consumer,
    limit: int,
    max_bytes: int,
    timeout: float,
    on_error: Callable[[KafkaError, Message], None],
) -> list[Message]:
    """Return up to `limit` messages that are here, waiting up to `timeout` seconds for the first.

    ``Consumer.consume`` waits until it has all that it was asked for; a wait of 0 takes what is here.
    What is no message (the end of a partition, a failure) goes to `on_error`.
    """
    taken: list[Message] = []
    while len(taken) < limit and max_bytes > 0:
        chunk = consumer.consume(min(_CHUNK, limit - len(taken)), 0)
        if not chunk and not taken and timeout > 0:
            first = consumer.poll(timeout)
            timeout = 0
            chunk = [] if first is None else [first]
        elif not chunk:
            break
        good = [message for message in chunk if message.error() is None]
        if len(good) < len(chunk):
            for message in chunk:
                if (error := message.error()) is not None:
                    on_error(error, message)
        max_bytes -= sum(map(len, good))
        taken += good
        if not chunk:
            break
    return taken


def make_columns(messages: list[Message]) -> Columns:
    """Return `messages` (at least one) as columns. A tombstone has an empty value, which decodes to a dead letter."""
    count = len(messages)
    stamps: NDArray[np.int64] = np.fromiter(map(Message.timestamp, messages), np.dtype((np.int64, 2)), count)
    headers = list(map(Message.headers, messages))
    values = list(map(Message.value, messages))
    return Columns(
        np.fromiter(map(Message.offset, messages), np.int64, count),
        stamps[:, 1],
        values if all(value is not None for value in values) else [value or b"" for value in values],
        [_content_type(pairs) for pairs in headers] if any(headers) else None,
        bool((stamps[:, 0] == TIMESTAMP_LOG_APPEND_TIME).all()),
    )


def _content_type(headers: list[tuple[str, bytes | None]] | None) -> str | None:
    for name, value in headers or ():
        if name.lower() == CONTENT_TYPE and value is not None:
            return value.decode("utf-8", "replace")
    return None
