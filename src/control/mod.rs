//! The control plane's HTTP side: who calls, what they may do, and how a refusal is told.
//!
//! The point: [`auth`] turns a request into a [`auth::Caller`] and a [`auth::Member`], [`problem`] turns whatever is refused into
//! `application/problem+json`. Endpoints stand on these two and know no token.
//!
//! It deliberately has no switch that lets anybody in without a token, and no sign-in of its own: people sign in at the issuer.
pub mod auth;
pub mod problem;
