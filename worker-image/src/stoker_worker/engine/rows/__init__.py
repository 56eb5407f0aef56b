"""From rows to pictures: one call for a batch, who leaves it, and pixels of its tensors."""
