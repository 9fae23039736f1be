"""Series beside their siblings: what is unlike the other series of its group at the same instant."""
