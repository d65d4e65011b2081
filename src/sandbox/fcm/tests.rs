//! The FCM simulator over real sockets.
