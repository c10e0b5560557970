"""`kubectl springline`: what a person at a terminal asks of BrokerConnections in a cluster.

It works with the rights of whoever calls it, and talks to the API server alone, never to the
operator. Only `cli` is imported at the start; the rest, and the libraries that it needs, when a
command runs. The pieces, from the outside inwards:

    cli         options in, text and an exit code out
    completion  what the shell offers after the Tab key
    commands    what the commands do, one by one
    live        a table that follows what happens
    actions     what can be asked of a connection, and waiting until it is done
    report      what is gathered for whoever looks for a fault
    reading     what is asked of the API server for that
    masking     that no secret is in it
    bundle      the archive or directory that it is written to
    remote      `springline check` in the operator's pod
    cluster     requests to the API server, and what their refusals mean for a person
    following   list and watch of whole objects
    account     one connection in words
    columns     many connections as a table
    connection  a BrokerConnection as the API server gave it
    reasons     what each reason means, from the documentation
    names       how connections are named, and written to be taken back
    choices     which connections are meant
    errors      why a command does not do what it was asked for
"""
