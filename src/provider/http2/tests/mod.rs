//! The pool against peers that speak frames by hand, in memory under a paused clock, and over real TLS.
mod answers;
mod books;
mod health;
mod limits;
mod line;
mod losses;
mod peer;
mod telling;
mod tls;
