"""The gateway's client: takes part in an arena over HTTP, as a voter or as a producer of votes.

::

    with Client("http://localhost:8600") as client:
        shown = client.next_matchup("pictures")
        pictures = [client.artifact(slot) for slot in shown.slots]
        receipt = client.vote(shown, ranks=[1, 2, 2, 4])

One client is one voter. `AsyncClient` has the same methods as coroutines.
"""

from producers.client.client import AsyncClient, Client
from producers.client.errors import GatewayRefusal, GatewayUnreachable

__all__ = ["AsyncClient", "Client", "GatewayRefusal", "GatewayUnreachable"]
