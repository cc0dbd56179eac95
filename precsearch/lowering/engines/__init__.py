"""Equal forms of a graph that one engine needs so that it runs what it was asked for."""
