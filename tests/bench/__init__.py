"""Measurements beside the bare minimum and a peer, in one run: `make bench`. No tests.

`standalone`, `over_http`, `over_amqp10` and `cluster` each measure one number of connections and
return `rows`; everything that holds connections for them is a process of its own.
"""
