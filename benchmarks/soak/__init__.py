"""Whether a page that stays open grows, or the server behind it."""
