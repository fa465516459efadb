//! What the request path promises, through real connections on both sides. Time is moved by hand.

mod explain;
mod held_bodies;
mod lab;
mod timeouts;
mod trailers;
mod views;
