"""One folder per feature, each with the same file names; see docs/architecture.md."""
