"""What pages are made of. Each works with the keyboard alone, in 16 colours, and in 80 columns."""
