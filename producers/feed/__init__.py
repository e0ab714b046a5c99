"""Feeds the records of one log, or of a store's archive, into another log, at the speed that is asked for."""
