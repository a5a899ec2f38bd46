"""The tables, a file per table or per group; ``schema/columns.py`` has them all."""
