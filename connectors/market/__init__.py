"""Sources of market records: recorded files and a seeded synthetic book."""
