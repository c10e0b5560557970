"""HTTP: one connection object with pipelining and multiplexing, on two libraries without I/O.

The idea: h11 and h2 know octets, each in one file. What a connection does with the requests that
it is given is decided in `conversation`, which knows neither sockets nor time. `connection` is all
that there is of I/O. Dialling, TLS and what else any protocol needs come from `drivers.shared`.

    adapter         core.ports.Adapter: all that the rest of Springline knows of the protocol
    parameters      what is declared for a connection, and what the core asks of that
    negotiated      what the answers have shown, and how status shows it
    probe_target    what to do where a probe shows nothing
    driver          core.ports.Driver: one attempt
    client          core.ports.Connection: up while requests succeed, over one wire connection after
                    the other; throttles, blocks, renewal, and how it ended
    servers         what a server says of itself
    alarms          what an answer says of a block
    connection      one wire connection: calls, their time, how it ends; all the I/O
    conversation    which request goes next, and what each is told that gets no answer
    engine          what a version of HTTP does for a connection, and what it tells
    http1           HTTP/1.1 with pipelining, on h11
    http2           HTTP/2 with multiplexing, on h2
    frame_splitter  octets to whole HTTP/2 frames, each seen before h2 sees it
    messages        requests and answers
    logins          how a credential is shown to a server
    verdicts        what an answer says of a session
    bounds          how much of anything there may be
    errors          what a call can fail with, and every foreign failure, translated once

h11 is imported by `http1` and h2 by `http2`, and by nothing else.
"""
