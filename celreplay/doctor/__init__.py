"""What an admin should know before, and after, something goes wrong: each finding with its remedy."""
