"""The AMQP 0-9-1 driver: opens, keeps and ends one connection at a time for the core.

The idea: aiormq makes the open handshake, at arm's length: one file knows its insides, and decides
nothing. The open connection goes on without a task: what comes is handed over as soon as it is
there, and timers are on the wheel. What is decided is in files of their own, each without a socket.
Sockets, TLS and what else any protocol needs come from `drivers.shared`.

    adapter         core.ports.Adapter: all that the rest of Springline knows of the protocol
    parameters      what is declared for a connection, and what the core asks of that
    negotiated      what came of the handshake, and how status shows it
    driver          core.ports.Driver: one overall deadline around everything below
    connection      core.ports.Connection: blocked, update-secret, closing, how it ended
    probe           publishes one message and waits until it is confirmed
    probe_target    what it publishes to, and what to do where that is refused
    wire            sends, drives the handshake, hands on what comes, bounds an end
    aiormq_private  aiormq's handshake, and whatever is private to aiormq, with the reasons
    frame_reader    a reader that trusts no length the peer names
    heart           heartbeats, and a peer's silence
    frames          frames as octets, and what is read of them in more than one place
    handshake       the open handshake: what is due, what is answered, what follows
    greeting        what Start tells us, what Start-Ok tells the broker
    mechanisms      SASL: the mechanisms there are, and what they say
    tuning          Tune against what is declared
    lengths         how long a login and a renewed secret may be
    replies         what a broker's Close means: the one table from codes and texts to reasons
    errors          every foreign failure, translated once

aiormq and pamqp are imported here and nowhere else; aiormq only by `aiormq_private`, but for the
exceptions that `errors` translates.
"""
