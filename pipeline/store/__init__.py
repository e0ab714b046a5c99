"""The store: DuckDB ledger, archive of accepted votes, and the files published from them (section 9).

`duck_store.open_store` gives the one writer; `reader.StoreReader` is what everybody else uses.
"""
