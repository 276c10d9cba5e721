"""What a film is: immutable values over the standard library and torch."""
