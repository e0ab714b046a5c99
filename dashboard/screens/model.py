"""One model, as a page of the app."""

from dashboard.models.page import show_model_page

show_model_page()
