"""Measurements, which take minutes and pass no judgement; `make bench` runs them."""
