"""The Kubernetes adapter: declarations in by watching, status, events and bindings out.

kopf and the Kubernetes client are known only here. The pieces, from the outside inwards:

    kubernetes_client, framework  the two libraries, as far as they are used
    partial_imports  how they are imported without the rest
    access      how the API server is reached, and as whom
    kubeconfigs what is wrong with a kubeconfig, in plain words
    trust       which API server is trusted, as a TLS context
    transport   HTTP to it, over connections that are kept
    client      requests to it, with a limit on every wait
    watching    metadata-only list and watch
    objects     Secrets and ConfigMaps, read when a session needs them
    namespaces  the labels of namespaces, and which are being deleted
    services    where the pods behind a Service are
    declarations  what objects there are, and what they mean for the manager
    known_objects  the objects that there are, for whoever writes something about one
    definitions what the API server's definitions of our kinds lack and take
    schemas     the same of one schema and one value
    installed   what has to be there at the start: our kinds, and the brokers
    readable    which of the namespaces can be read
    operator    the watches of our own kinds, by kopf
    embedding   kopf as one part of the process among others, and the events of its watches
    echoes      events in which only the status is new
    own_writes  events of our own writes, dropped before they are parsed
    document_texts  the version of an object in a text that is not parsed
    sweeping    objects that went while nobody was looking
    replicas    what a replica is called, and what its Lease says
    lease       the Lease of this replica
    holders     whether the holders that statuses name live
    projection  what the status of an object should be
    stored      a status as the API server has it
    status_texts  a status as text, and its digest
    applying    one status, written or read
    entries     what is known of the status of each object
    rivals      other writers of status, and whose it is
    status      what became of each declaration, by server-side apply
    turns       in which order, and how fast, status is written
    events      what happened, as Kubernetes Events: which of it is worth one
    event_objects  what an Event says
    event_posting  Events on their way, each namespace's by themselves
    notices     warnings about who writes a status, as Events
    notice_kinds  what they are called
    binding     Secrets for applications: when, and what
    bound_secrets  one of them, looked at and written
"""
