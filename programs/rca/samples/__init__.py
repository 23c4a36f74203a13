"""Incidents of a made-up company, their telemetry and the script that writes both."""
