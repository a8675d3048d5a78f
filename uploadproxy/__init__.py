"""The public end of uploads, and the upload pod behind it."""
