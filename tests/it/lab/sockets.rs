//! What the kernel says of connections on this machine.

/// Whether the other side of a connection over 127.0.0.1 has read all that was written: nothing waits in its socket's line,
/// or it has closed it.
pub fn is_read([ours, theirs]: [u16; 2]) -> bool {
    let [ours, theirs] = [ours, theirs].map(|port| format!(":{port:04X}"));
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    !table.lines().any(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let [Some(local), Some(remote), _, Some(queues)] = std::array::from_fn(|_| words.next()) else { return false };
        let is_unsent = local.ends_with(&ours) && remote.ends_with(&theirs) && !queues.starts_with("00000000:");
        is_unsent || local.ends_with(&theirs) && remote.ends_with(&ours) && !queues.ends_with(":00000000")
    })
}
