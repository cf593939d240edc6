"""Steps in time: methods as objects, and the loops that take them."""
