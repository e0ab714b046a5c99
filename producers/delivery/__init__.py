"""How votes get into a log and how their loss is noticed: what `producers.vote_writer` is made of."""
