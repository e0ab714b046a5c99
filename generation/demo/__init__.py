"""Demo models: pictures of colours, shapes and relations, drawn by numpy, with quality that visibly differs."""
