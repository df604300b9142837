"""What may cross a wire: messages, topics, instruments and reasons. Knows nothing of the rest of the project."""
