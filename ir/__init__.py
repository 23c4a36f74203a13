"""Types, values, operations and regions; their text; their verifier."""
