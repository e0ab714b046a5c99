"""Votes a second that one process brings into a log: `VoteWriter` beside plain clients, and the simulator."""
