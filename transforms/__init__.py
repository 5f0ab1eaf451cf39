"""Beam shells: each file one named PTransform over pure functions."""
