"""Votes in, boards out: contracts, rating, matchmaking, operators, event log, store, engines, commands."""
