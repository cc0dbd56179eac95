"""What corrections of INT8 are judged by, their ranges, and the order of trials."""
