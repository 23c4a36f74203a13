"""What the verifier checks: one file per family of rules, each a list of small functions."""
