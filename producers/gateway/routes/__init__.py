"""The routes of the gateway, one file a kind of caller."""
