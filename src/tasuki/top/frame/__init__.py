"""The picture of one moment: lines of text with styles, made of plain values; no I/O."""
