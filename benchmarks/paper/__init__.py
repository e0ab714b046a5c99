"""K-Sort Arena's experiments (arXiv 2408.14468) again: votes until the order of 50 models is exact, by method.

`world` holds the truth and the voters, `raters` the methods, `trace` follows a rank error vote by vote, `newcomer` lets
a model enter a settled board, `experiments` lists what is run, `raw` keeps and sums up results, `document` and `plots`
make docs/reproduction.md and its pictures of them.
"""
