"""The probes: each looks at one thing, in its own file, and yields what it finds."""
