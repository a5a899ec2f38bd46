"""tcptrace-tw: rebuilds both endpoints' TCP state histories from a capture and reports what TIME-WAIT did."""

__version__ = "0.1.0"
