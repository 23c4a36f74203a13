"""The built-in functions of `flow.pure`, by subject. `ir.functions` is the way in."""
