"""The matrix of pairs, as a page of the app."""

from dashboard.pairs.page import show_pairs_page

show_pairs_page()
