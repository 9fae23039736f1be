"""What holds alerts back or masks samples: the calendar, announced events, silences."""
