"""Rows to Arrow and Parquet, and back."""
