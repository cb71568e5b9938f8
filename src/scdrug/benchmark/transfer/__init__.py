"""Transfer from bulk lines to single cells: assayed lines leave the training, cells and controls are scored."""
