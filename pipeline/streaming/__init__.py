"""Engines: the Beam graph around the operators, the embedded runner, and the live job on one machine."""
