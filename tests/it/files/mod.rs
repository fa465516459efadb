//! Services that are file servers: SFTP and FTP, on servers that others wrote.

mod door;
mod rights;
mod servers;
mod table;
