"""The protocol-independent heart: sessions, their state machine, status projection and the ports."""
