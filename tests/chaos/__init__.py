"""Faults in random order, from a seed: what must hold when all of them are over. `make chaos`.

A *sequence* is a list of faults, drawn from a seed; `sequences` draws it and writes it as text.
`kinds` has every kind of fault, and does them to a `world`: a real broker, links to it that can be
broken, and Springline as a process of its own, from files (`standalone`) or in a cluster
(`in_cluster`). At the end of a sequence everything is mended, and then `invariants` must hold
within a bound. `running` runs sequences, and shrinks one that fails (`shrinking`).
"""
