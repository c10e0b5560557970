"""The driver of Echo, a line protocol that exists for the tests of the seam between protocols.

Each line is an object in JSON with a verb. A hub greets, is told who comes, and is entered; then it
sends every line back, until either side closes. It is as small as a protocol can be that has all
that the core asks of one, and has nothing of any other.

    adapter       core.ports.Adapter: all that the rest of Springline knows of the protocol
    parameters    what is declared for a connection, and what the core asks of that
    negotiated    what came of entering, and how status shows it
    probe_target  what to do about a refused probe
    driver        core.ports.Driver: one overall deadline around everything below
    connection    core.ports.Connection: echoes, holds, closing, how it ended
    lines         lines on the wire
    errors        every foreign failure, translated once
"""
