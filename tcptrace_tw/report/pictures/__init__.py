"""Pictures: columns to a declared chart, and a chart to SVG; no library for plots is needed to make one."""
