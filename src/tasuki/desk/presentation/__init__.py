"""How the pages look: words in two languages, numbers, templates, style and script."""
