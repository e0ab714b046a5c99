"""Votes from elsewhere: one module a format, each a reader of arenas and of votes."""
