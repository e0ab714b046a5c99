"""The operator's view, as a page of the app."""

from dashboard.operator_page import show_operator_page

show_operator_page()
