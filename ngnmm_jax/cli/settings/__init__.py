"""What each command can be told: one schema for its options, its TOML file, its checks and help."""
