"""Write every generated page, and put what the commands print today into the hand-written ones."""

from tests.docs import blocks, pages

if __name__ == "__main__":
    pages.write()
    blocks.rewrite()
