"""Simulated voters: votes on models whose true order is known."""
