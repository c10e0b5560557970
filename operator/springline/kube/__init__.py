"""The Kubernetes adapter: declarations in by watching, status and events out, nothing else written.

kopf and the Kubernetes client are known only here. The pieces, from the outside inwards:

    access      how the API server is reached, and as whom
    client      requests to it, with a limit on every wait
    watching    metadata-only list and watch
    objects     Secrets and ConfigMaps, read when a session needs them
    namespaces  the labels of namespaces
    services    where the pods behind a Service are
    declarations  what objects there are, and what they mean for the manager
    operator    kopf, embedded: the watches of our own kinds
    sweeping    objects that went while nobody was looking
    status      what became of each declaration, by server-side apply
    events      what happened, as Kubernetes Events
"""
