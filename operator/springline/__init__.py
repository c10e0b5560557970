"""Springline keeps broker client connections that are declared as Kubernetes resources."""

__version__ = "0.1.0"
