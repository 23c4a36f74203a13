"""Where telemetry comes from: one small interface, one module for each kind of data source."""
