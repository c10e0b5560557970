"""The parts of the Kubernetes client that are used here, without the rest of it.

No other module imports `kubernetes`, whose package imports every client it has, the synchronous one
with its HTTP library too. What is imported here is named by its module, and not by a package that
would import more; the image is built without the rest.
"""

from springline.kube import partial_imports

with partial_imports.code_of_packages_not_run("kubernetes", "kubernetes.aio"):
    from kubernetes.aio import config
    from kubernetes.aio.client.configuration import Configuration
    from kubernetes.aio.config import kube_config
    from kubernetes.aio.config.config_exception import ConfigException

__all__ = ["ConfigException", "Configuration", "config", "kube_config"]
