"""The tests. A package, so that no other ``tests`` on the path can be imported in its place."""
