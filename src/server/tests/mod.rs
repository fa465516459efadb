mod connections;
mod drain;
mod lab;
