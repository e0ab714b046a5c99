"""Model adapters: how a generator string becomes something that makes artifacts."""
