//! The pool against peers that speak frames by hand, in memory under a paused clock, and over real TLS.
mod core;
mod peer;
mod tls;
