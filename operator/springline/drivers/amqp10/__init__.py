"""AMQP 1.0: opens, keeps and ends one connection at a time for the core.

SASL is our own, below the engine: the client's order decides among what is offered, and status
shows it. Dialling, TLS and what else any protocol needs come from `drivers.shared`.

    mechanisms      SASL: the mechanisms there are, and what they say
    scram           SCRAM without I/O: messages, bounds, the server's proof
    saslprep        user names and passwords as SCRAM wants them
"""
