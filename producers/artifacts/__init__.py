"""The artifact store: what models made, as bytes under their hash, and which recipe made which."""
