"""Label configs: parsing of controls, detection of renames, matching of labels to class names."""
