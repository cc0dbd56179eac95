"""Times engines beside each other, and says how sure a timing is."""
