//! The HTTP/2 session driven by raw frames, without a socket: what a client sees byte for byte.
