"""The gateway: matchups out to voters, votes in to the log, over HTTP."""
