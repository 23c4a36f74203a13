"""Programs that come with the compiler: small examples, and root-cause analysis in `rca`."""
