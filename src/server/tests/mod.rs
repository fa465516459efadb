mod connections;
mod drain;
mod http2;
mod lab;
mod streams;
mod workers;
