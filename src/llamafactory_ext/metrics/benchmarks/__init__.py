"""One scorer per benchmark."""
