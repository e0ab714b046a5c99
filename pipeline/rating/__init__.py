"""Ratings: pair counts, the paper's filter, the posterior, rank intervals and the baselines.

Pure: arrays in, frozen results out; no files, no clock, no randomness without a seed. Import the modules
directly.
"""
