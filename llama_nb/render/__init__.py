"""What a page shows without our JavaScript: safe Markdown as a node tree, its HTML and text, mime bundles."""
