"""What tables, columns and words there are; the passing batch."""
