"""Training: the loop, what it steps with, what it saves, and train.py, which calls them."""
