"""The public end of uploads, and the upload pod behind it. Nothing is served yet: see CHANGELOG.md."""
