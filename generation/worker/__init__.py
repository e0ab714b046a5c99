"""The worker: leases batches of jobs of one model, makes the artifacts, and delivers them."""
