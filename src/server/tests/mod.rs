mod connections;
mod drain;
mod http2;
mod lab;
mod parked;
mod streams;
mod workers;
