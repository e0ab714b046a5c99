"""Whether 95 % intervals cover 95 %: weights of pairs in `rank` and `best` ballots, and the width of rank intervals."""
