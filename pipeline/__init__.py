"""How the parts are composed and started."""
