"""The accuracy of assignments without building an engine."""
