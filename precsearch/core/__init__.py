"""Pure data that every other part imports."""
