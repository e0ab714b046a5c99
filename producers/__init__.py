"""What brings votes to the event log."""
