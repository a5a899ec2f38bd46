"""What rules read: rows and the records they are made of; moves no state."""
