"""The model and its tokenizer: where they come from, whether they fit, and how a trained one is kept."""
