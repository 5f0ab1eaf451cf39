"""Networks: arrays in, arrays out; nothing here knows tiles, Beam or configuration."""
