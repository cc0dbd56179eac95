"""What a command opens before it starts."""
