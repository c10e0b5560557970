"""Pictures for the documentation: what the dashboard shows while things happen to a real fleet."""
