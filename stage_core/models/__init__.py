"""Networks that we own."""
