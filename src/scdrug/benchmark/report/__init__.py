"""Report of a benchmark: tables, Markdown, plots and a self-contained page."""
