"""What it means: Call, Leg, Direction, Disposition. Pure."""
