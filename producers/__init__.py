"""Programs that bring votes into an event log: client library, gateway, importers, simulator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from producers.client import AsyncClient, Client

__all__ = ["AsyncClient", "Client"]


def __getattr__(name: str) -> Any:
    """Load the gateway's client when it is asked for: it needs an extra that writers of votes do without."""
    if name in __all__:
        import producers.client  # noqa: PLC0415 - see above

        return getattr(producers.client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
