"""Where an output ends, and which tokens its type allows."""
