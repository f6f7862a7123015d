"""Labels out of Label Studio into the formats of the field, and back: one module for each format."""
