"""The operations of each dialect."""
