"""How fast scores come from a million votes: point fits of 50, 200 and 2,000 models against peers, and posteriors."""
