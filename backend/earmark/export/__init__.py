"""Export formats for labels, such as JAMS, Raven and DCASE: one module with writer and reader for each."""
