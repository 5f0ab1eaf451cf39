"""Pure functions on arrays: no Beam, no torch, no files, no clock."""
