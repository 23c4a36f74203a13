"""The `semc` commands."""
