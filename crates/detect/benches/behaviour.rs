//! What behaviour costs an event.

fn main() {}
