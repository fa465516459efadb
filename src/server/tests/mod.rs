mod connections;
mod drain;
mod lab;
mod streams;
mod workers;
