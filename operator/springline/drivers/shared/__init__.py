"""What drivers have in common: everything below and beside a protocol, and no protocol's own.

The idea: a driver dials, gets a line, and speaks its protocol on it. Whatever would be the same in
another protocol is here, each thing in one file, so that all drivers say the same of the same.

    dialling       an address, and TLS where declared, to a line
    line           a connected transport: writes without waiting, ends within a bounded time
    tls_handshake  TLS on a connected socket, and what it agreed on
    progress       how far an attempt has come; a driver adds its own steps
    failures       what the operating system says, as an error of ours
    tls_failures   what OpenSSL says, as an error of ours
    sasl           which mechanism: the client's order, and no secret in clear text by accident
    told           what the observer of a connection is told: a block, a change, the end
    unused         what is declared, and this protocol has no use for
    peers          what the other side speaks, if not what is expected
    peer_text      a peer's text, made fit to be shown
    hints          what a refused login may come from

It reads no bytes of a protocol beyond a peer's first ones, knows no protocol's library, and imports
no driver.
"""
