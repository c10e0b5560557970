"""Name lookup: in threads, so many at once, each name once at a time and in fair turns."""

from springline.resolver.pool import LookupPool
from springline.resolver.system import SystemResolver

__all__ = ["LookupPool", "SystemResolver"]
