"""How many votes a second one core decodes, from the records of a log batch to Arrow columns."""
