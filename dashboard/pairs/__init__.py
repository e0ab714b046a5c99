"""The page of pairs: who beat whom, and what the posterior expects."""
