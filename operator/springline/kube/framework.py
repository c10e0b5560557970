"""kopf, without the clients that it can do without.

No other module imports it. kopf recognizes objects and configurations of three libraries if those
are there, and so would import the whole Kubernetes client; the operator gives it neither.
"""

from springline.kube import partial_imports

with partial_imports.absent("kubernetes", "kubernetes_asyncio", "pykube"):
    import kopf
    from kopf._cogs.aiokits import aiotasks
    from kopf._cogs.clients import api, errors, watching
    from kopf._cogs.structs.credentials import Vault

__all__ = ["Vault", "aiotasks", "api", "errors", "kopf", "watching"]
