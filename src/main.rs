//! The program `watchkeeper`; what it does is still to come.

fn main() {}
