"""Which engines are proposed next."""
