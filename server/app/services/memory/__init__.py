"""What agents keep between discussions, and what is kept of long ones."""
