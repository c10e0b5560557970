"""Where the endpoints of a broker come from: one module for each source."""
