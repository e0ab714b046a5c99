"""The dispatcher: the life of every matchup, from its proposal over the making of its artifacts to its vote."""
