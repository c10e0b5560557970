"""Hostile octets and documents for everything that takes them from outside; see tests/README.md."""
