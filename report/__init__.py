"""What the compiler and a run know, for people: explanations as text and JSON, and runs as web pages."""
