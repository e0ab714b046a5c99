"""The doctor's look at a gateway and at the keys of its tokens."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pipeline.cli.doctor import Finding


def check_gateway(url: str) -> Iterator[Finding]:
    """Ask the gateway at `url` whether it can serve, and which arenas it has."""
    from pipeline.cli.main import describe_error

    try:
        from producers.client import Client, GatewayRefusal, GatewayUnreachable
    except ModuleNotFoundError as error:
        yield Finding("gateway", "bad", str(describe_error(error)))
        return
    with Client(url, patience=0.0) as client:
        try:
            health = client.ready()
            arenas = client.arenas()
        except (GatewayRefusal, GatewayUnreachable) as error:
            yield Finding("gateway", "bad", str(error), "start it with `kwise gateway serve`, or check the URL")
            return
    for problem in health.problems:
        yield Finding("gateway", "bad", f"{url} is not ready: {problem}", "mend this, or wait until it is back")
    if not health.problems:
        named = ", ".join(arena.id for arena in arenas) or "none yet"
        yield Finding("gateway", "ok", f"{url} serves; arenas: {named}")
    open_arenas = [arena.id for arena in arenas if not arena.require_token]
    if open_arenas:
        yield Finding(
            "gateway: tokens",
            "note",
            f"votes on {', '.join(open_arenas)} count without a token of this gateway",
            "set require_token = true in the arena's file and apply it, if votes come through the gateway only",
        )


def check_token_keys(path: Path) -> Iterator[Finding]:
    """Look at a file of keys of tokens: can it be read, does one sign, who else can read it."""
    from pipeline.contracts.keyring_file import read_keyring
    from pipeline.contracts.token import TokenKeyError

    try:
        keyring = read_keyring(path)
        signing = keyring.signing
    except TokenKeyError as error:
        yield Finding("token keys", "bad", str(error))
        return
    yield Finding("token keys", "ok", f"{signing.id} signs, {len(keyring.keys) - 1} others check")
    if path.stat().st_mode & 0o077:
        yield Finding("token keys", "bad", f"{path} can be read by other users", f"chmod 600 {path}")
