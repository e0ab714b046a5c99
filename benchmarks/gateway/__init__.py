"""500 voters at once through the gateway, with job, log, worker and voters on the same cores."""
