"""From source text to checked `sem` IR."""
