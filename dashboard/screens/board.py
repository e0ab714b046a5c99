"""The board, as a page of the app."""

from dashboard.board_page import show_board_page

show_board_page()
