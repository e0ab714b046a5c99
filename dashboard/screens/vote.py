"""Voting, as a page of the app."""

from dashboard.voting.page import show_voting_page

show_voting_page()
