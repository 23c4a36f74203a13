"""Rewrites of the IR, one file each, and the planner."""
