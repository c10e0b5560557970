"""Springline without a cluster: manifests from a directory, status to files and the terminal."""
