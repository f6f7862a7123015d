"""Control types: one small class for each control tag of a label config, and their registry."""
