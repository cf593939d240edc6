"""What the commands compute and write: figures, tables, files."""
