"""A peer for each protocol of the table, in the module of its name: see `support.harness`."""
