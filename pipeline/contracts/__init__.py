"""Contracts: the frozen types, batch codecs and protocols that all parts share. Imports no other part."""
