"""Springline without a cluster: the same manifests from a directory, status to files and the terminal."""
