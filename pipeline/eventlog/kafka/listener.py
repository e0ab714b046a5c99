"""What listens at a server's port, for when a client only says that its brokers are down."""

from __future__ import annotations

import contextlib
import socket
import ssl

from pipeline.contracts.log import LogError, LogUnavailable
from pipeline.eventlog.kafka.settings import KafkaSettings

_ANSWER_SECONDS = 1.0


def examine_listener(settings: KafkaSettings) -> LogError | None:
    """Return what is wrong with the way in which a server is spoken to; None if that is not what is wrong.

    A broker that is spoken to without encryption, or without a login, where it wants them hangs up without a word.
    """
    host, _, port = settings.servers[0].rpartition(":")
    address = (host.strip("[]"), int(port))
    try:
        with socket.create_connection(address, _ANSWER_SECONDS) as connection:
            speaks_tls = _speaks_tls(connection)
    except OSError:
        return None
    if speaks_tls and not settings.tls:
        return LogError(
            f"{settings.url}: the broker speaks TLS and this client does not: set KWISE_KAFKA_TLS=1, and "
            "KWISE_KAFKA_CA=FILE for an authority of your own."
        )
    if settings.tls and not speaks_tls:
        return LogError(
            f"{settings.url}: {settings.servers[0]} does not speak TLS: connecting to a PLAINTEXT broker? "
            "Name its TLS port, or set KWISE_KAFKA_TLS=0."
        )
    if settings.username is None:
        return LogUnavailable(
            f"{settings.url}: {settings.servers[0]} takes connections but answers nothing. If that lasts, it may want "
            "a login, KWISE_KAFKA_USERNAME and KWISE_KAFKA_PASSWORD, or a certificate that it trusts, "
            "KWISE_KAFKA_CERTIFICATE and KWISE_KAFKA_KEY."
        )
    return None


def _speaks_tls(connection: socket.socket) -> bool:
    """Whether the other side answers the greeting of TLS; nothing else is sent, so its certificate does not matter."""
    connection.settimeout(_ANSWER_SECONDS)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with contextlib.suppress(OSError), context.wrap_socket(connection):
        return True
    return False
