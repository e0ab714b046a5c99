"""The whole path on one machine: votes a second, freshness, memory."""
