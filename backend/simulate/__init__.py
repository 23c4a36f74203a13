"""Engines in virtual time: discrete events, the engine's own scheduler, and the cost model as the clock."""
