"""What people look at: terminal, HTML, ladders."""
