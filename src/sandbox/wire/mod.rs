//! HTTP as a push provider speaks it: a small HTTP/2 layer of our own, and just enough HTTP/1.1.
//!
//! General HTTP/2 servers cannot change their stream limit at run time, put a reason into GOAWAY, or leave a PING unanswered;
//! these are what a sender has to survive, so the frames are made here.
//! It is no general server: requests are held whole, answers are short, and nothing is streamed.
//! A client that breaks the protocol gets GOAWAY with the code of RFC 9113 and loses its connection, nothing more.
pub(crate) mod connection;
pub(crate) mod frame;
pub(crate) mod hpack;
pub(crate) mod http1;
pub(crate) mod huffman;
pub(crate) mod judge;
pub(crate) mod outgoing;
pub(crate) mod session;

#[cfg(test)]
mod tests;
