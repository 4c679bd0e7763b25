"""Tables: read, understood, prepared for a net, and what is trained on them and told of it."""
