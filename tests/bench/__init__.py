"""Measurements beside the bare minimum, in one run: `make bench`. Nothing here is a test."""
