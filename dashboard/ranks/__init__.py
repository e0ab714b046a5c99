"""The page of ranks over time."""
