"""Records of older versions, turned into those of the present one: a function for each class of record that changed."""
