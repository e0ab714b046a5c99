"""Matchmaking, as a page of the app."""

from dashboard.matchmaking.page import show_matchmaking_page

show_matchmaking_page()
