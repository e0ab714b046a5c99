"""Votes to the exact order with the product's own matchmaking and posterior: one configuration for all rows."""
