"""Hypothesis judges what comes out, not how long it takes: the machine may have much else to do."""

from hypothesis import HealthCheck, settings

settings.register_profile("springline", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("springline")
