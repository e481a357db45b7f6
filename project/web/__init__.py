"""HTTP plumbing that all features share. Knows no feature."""
