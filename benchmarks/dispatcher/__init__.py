"""How quickly the queue of matchups answers: voters alone and 500 at once, workers, and the upkeep."""
