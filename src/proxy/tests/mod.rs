//! What the request path promises, through real connections on both sides. Time is moved by hand.

mod lab;
mod timeouts;
mod views;
