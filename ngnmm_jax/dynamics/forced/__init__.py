"""Systems under a drive that repeats itself: orbits locked to it, their pieces of time."""
