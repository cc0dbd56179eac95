"""What can be said of a model and its search before anything is searched."""
