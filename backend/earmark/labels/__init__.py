"""What a label config says: controls, renames, matching of labels to class names."""
