"""Ranks over time, as a page of the app."""

from dashboard.ranks.page import show_ranks_page

show_ranks_page()
