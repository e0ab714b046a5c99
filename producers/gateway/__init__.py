"""The gateway: matchups out, votes in, over HTTP."""
