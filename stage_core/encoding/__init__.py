"""Pictures and words made into what the models read."""
