"""Where credentials and certificates come from: one module for each source."""
