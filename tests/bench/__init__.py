"""Measurements beside the bare minimum and a peer, in one run: `make bench`. No tests.

`standalone`, `over_http`, `over_amqp10` and `cluster` each measure one number of connections and
return `rows` of one turn; everything that holds connections for them is a process of its own, which
does the `steps` that it is told. `sides` runs one, `tables` and `sizing` make of the rows what the
documentation has.
"""
