"""Demo artifacts a second by workers on the real queue, and how often weights are swapped by batches of one model."""
