"""The generated pages of docs/: ``python -m tests.docs`` writes them, ``tests/test_docs_pages.py`` compares them."""
