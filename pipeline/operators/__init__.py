"""Operators: Ingest, Rate and Publish, engine-free classes over batches; they reach the store through a protocol."""
