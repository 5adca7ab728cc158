"""The toolkit for drivers over a database: a pool, transactions, and a driver whose verbs are transactions."""
