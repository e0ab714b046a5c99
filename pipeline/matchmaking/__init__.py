"""Matchmaking: which models to show together next. Pure and, given its generator, deterministic."""
