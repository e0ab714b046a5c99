"""Workers that make the artifacts of matchups: model adapters, the demo models, the loop that leases work."""
