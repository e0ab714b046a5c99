"""How fast ratings are: the filter and the counts against peers, and the posterior's fits."""
