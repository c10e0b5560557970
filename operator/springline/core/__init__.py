"""What no protocol decides: sessions, their state machine, status projection and the ports."""
