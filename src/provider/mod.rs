//! The push providers: one folder each, and the HTTP/2 connection pool that they share.
pub mod apns;
pub mod fcm;
pub mod http2;
