"""AMQP 1.0: opens, keeps and ends one connection at a time for the core.

SASL is our own, below the engine: the client's order decides among what is offered, and status
shows it. Above it proton keeps the states of connection, sessions and links, and sees only frames
that are in order. Dialling, TLS and what else any protocol needs come from `drivers.shared`.

    adapter         core.ports.Adapter: all that the rest of Springline knows of the protocol
    parameters      what is declared for a connection, and what the core asks of that
    negotiated      what came of opening, with the links as they are, and how status shows it
    probe_target    what to do where a probe is refused
    terms           the closed sets of the protocol, in the words of declaration and status
    library         whether the library is there, and what to do where it is not
    driver          core.ports.Driver: one attempt under one deadline
    opening         dial, log in, Open, Begin; again where the broker wants another host name
    sasl_layer      the layer in which a client logs in, below the engine
    derivations     keys from passwords, off the event loop, in turns
    mechanisms      SASL: the mechanisms there are, and what they say
    scram           SCRAM without I/O: messages, bounds, the server's proof
    saslprep        user names and passwords as SCRAM wants them
    habits          what brokers do each in their own way, by what they say of themselves
    peer            what a peer says of itself in Open
    connection      core.ports.Connection: blocked, probed, renewed, closing, how it ended
    blocking        whether the broker takes in what is sent, by window and credit
    links           the declared links: attached, shown, and attached again
    termini         what the peer has confirmed of a link
    probe           has the broker take something in, and tells what it did
    outcomes        what became of a message that was sent
    renewal         renews a secret in the ways that brokers have for that
    attachments     one link in a session of its own, from Attach to Detach
    sending         messages over a link, and their outcomes
    messages        messages as octets
    wire            the socket, the clock and the reading task of an engine; how an end runs
    engine          one connection without a socket, on proton's engine
    amqp_sessions   a session that we have begun, as the engine keeps it
    endpoints       who has ended a connection, a session or a link
    guard           what a peer may send, and when; nothing else is shown to proton
    codec           the values in frames, by proton's codec
    structure       walks what is encoded before it is decoded
    frames          frames as octets
    bounds          how much of anything there may be
    conditions      what an error condition means: the one table from symbols and texts to reasons
    errors          every foreign failure, translated once

proton is imported by what speaks with the engine, and by nothing that is needed before somebody
connects: `adapter`, `parameters`, `negotiated`, `probe_target`, `mechanisms`, `scram` and what they
import work without it.
"""
