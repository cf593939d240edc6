"""What all rooms use: types, checks, status, progress, lanes, the definition and the store."""
