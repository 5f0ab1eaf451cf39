"""What can be set, and nothing computed: typed, validated sections and the YAML files."""
