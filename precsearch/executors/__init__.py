"""Workers that build and measure engines, and the client of them."""
