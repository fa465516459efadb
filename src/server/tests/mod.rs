mod connections;
mod drain;
mod lab;
mod parked;
mod streams;
mod workers;
