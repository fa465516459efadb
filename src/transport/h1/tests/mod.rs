//! How answers are read: from bytes in any pieces, and beside hyper's client.

mod beside_hyper;
mod reading;
