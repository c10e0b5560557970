"""What several suites share: servers, certificates and other real parts that tests start."""
