mod connections;
mod drain;
mod lab;
mod streams;
