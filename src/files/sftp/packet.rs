//! The packets of version 3 that a client of files needs, as bytes. Pure.
//!
//! The draft calls names and handles strings; both are bytes here (draft-ietf-secsh-filexfer-02 §4 to §7).

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// What a server is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Request<'a> {
    Open {
        path: &'a [u8],
        opening: Opening,
    },
    Close {
        handle: &'a [u8],
    },
    Read {
        handle: &'a [u8],
        offset: u64,
        length: u32,
    },
    Write {
        handle: &'a [u8],
        offset: u64,
        data: &'a [u8],
    },
    Stat {
        path: &'a [u8],
    },
    Lstat {
        path: &'a [u8],
    },
    Fstat {
        handle: &'a [u8],
    },
    OpenFolder {
        path: &'a [u8],
    },
    ReadFolder {
        handle: &'a [u8],
    },
    Remove {
        path: &'a [u8],
    },
    MakeFolder {
        path: &'a [u8],
    },
    RemoveFolder {
        path: &'a [u8],
    },
    Rename {
        from: &'a [u8],
        to: &'a [u8],
    },
    /// `posix-rename@openssh.com`: in one step over what is there.
    PosixRename {
        from: &'a [u8],
        to: &'a [u8],
    },
    /// `fsync@openssh.com`.
    Sync {
        handle: &'a [u8],
    },
    /// `limits@openssh.com`.
    Limits,
}

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    Read,
    /// One that is there already is refused.
    New,
    /// One that is there already is emptied.
    Over,
}

/// What a server answers.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SftpReply {
    Status { code: u32, text: Bytes },
    Handle(Bytes),
    Data(Bytes),
    Names(Names),
    Attributes(Attributes),
    Extended(Bytes),
}

/// What is known of a file; a server may leave out any of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attributes {
    pub(crate) size: Option<u64>,
    /// The kind and the rights, as POSIX has them.
    pub(crate) mode: Option<u32>,
    /// Seconds since 1970.
    pub(crate) modified: Option<u32>,
}

/// Some entries of a folder, read as they are asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Names {
    left: u32,
    bytes: Bytes,
}

/// The bytes are no packet that a server of version 3 sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MalformedPacket(pub(super) &'static str);

/// `VERSION` of a server, and what it can do beyond.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SftpVersion {
    pub(super) number: u32,
    pub(super) extensions: Vec<(Bytes, Bytes)>,
}

/// The longest that is taken: what OpenSSH sends at most (256 KiB), and as much again for what others may add.
const LONGEST: usize = 512 * 1024;
/// More than any server is known to list.
const MOST_EXTENSIONS: usize = 64;

impl Request<'_> {
    /// Appends it, with its length in front.
    pub(super) fn write(&self, id: u32, out: &mut BytesMut) {
        framed(out, self.kind(), |out| {
            out.put_u32(id);
            self.write_fields(out);
        });
    }

    fn kind(&self) -> u8 {
        match self {
            Self::Open { .. } => 3,
            Self::Close { .. } => 4,
            Self::Read { .. } => 5,
            Self::Write { .. } => 6,
            Self::Lstat { .. } => 7,
            Self::Fstat { .. } => 8,
            Self::OpenFolder { .. } => 11,
            Self::ReadFolder { .. } => 12,
            Self::Remove { .. } => 13,
            Self::MakeFolder { .. } => 14,
            Self::RemoveFolder { .. } => 15,
            Self::Stat { .. } => 17,
            Self::Rename { .. } => 18,
            Self::PosixRename { .. } | Self::Sync { .. } | Self::Limits => 200,
        }
    }

    fn write_fields(&self, out: &mut BytesMut) {
        match *self {
            Self::Open { path, opening } => {
                put_string(out, path);
                out.put_u32(opening.flags());
                // No attributes: the server's own are taken.
                out.put_u32(0);
            }
            Self::MakeFolder { path } => {
                put_string(out, path);
                out.put_u32(0);
            }
            Self::Read { handle, offset, length } => {
                put_string(out, handle);
                out.put_u64(offset);
                out.put_u32(length);
            }
            Self::Write { handle, offset, data } => {
                put_string(out, handle);
                out.put_u64(offset);
                put_string(out, data);
            }
            Self::Close { handle } | Self::Fstat { handle } | Self::ReadFolder { handle } => put_string(out, handle),
            Self::Stat { path }
            | Self::Lstat { path }
            | Self::OpenFolder { path }
            | Self::Remove { path }
            | Self::RemoveFolder { path } => put_string(out, path),
            Self::Rename { from, to } => {
                put_string(out, from);
                put_string(out, to);
            }
            Self::PosixRename { from, to } => {
                put_string(out, POSIX_RENAME);
                put_string(out, from);
                put_string(out, to);
            }
            Self::Sync { handle } => {
                put_string(out, FSYNC);
                put_string(out, handle);
            }
            Self::Limits => put_string(out, LIMITS),
        }
    }
}

impl Opening {
    fn flags(self) -> u32 {
        const READ: u32 = 0x01;
        const WRITE: u32 = 0x02;
        const CREATE: u32 = 0x08;
        const TRUNCATE: u32 = 0x10;
        const EXCLUSIVE: u32 = 0x20;
        match self {
            Self::Read => READ,
            Self::New => WRITE | CREATE | EXCLUSIVE,
            Self::Over => WRITE | CREATE | TRUNCATE,
        }
    }
}

/// The first packet of a session: version 3 is asked for.
pub(super) fn write_init(out: &mut BytesMut) {
    framed(out, 1, |out| out.put_u32(VERSION));
}

/// The first packet of a server.
pub(super) fn read_version(mut packet: Bytes) -> Result<SftpVersion, MalformedPacket> {
    if take_u8(&mut packet)? != 2 {
        return Err(MalformedPacket("its first packet is no VERSION"));
    }
    let number = take_u32(&mut packet)?;
    let mut extensions = Vec::new();
    while !packet.is_empty() {
        if extensions.len() == MOST_EXTENSIONS {
            return Err(MalformedPacket("its VERSION lists more than 64 extensions"));
        }
        extensions.push((take_string(&mut packet)?, take_string(&mut packet)?));
    }
    Ok(SftpVersion { number, extensions })
}

/// Which request it answers, and with what.
pub(super) fn read_reply(mut packet: Bytes) -> Result<(u32, SftpReply), MalformedPacket> {
    let kind = take_u8(&mut packet)?;
    let id = take_u32(&mut packet)?;
    let reply = match kind {
        101 => {
            let code = take_u32(&mut packet)?;
            // mod_sftp sends some without a text, the oldest servers all.
            let text = if packet.is_empty() { Bytes::new() } else { take_string(&mut packet)? };
            SftpReply::Status { code, text }
        }
        102 => SftpReply::Handle(take_string(&mut packet)?),
        103 => {
            let data = take_string(&mut packet)?;
            // What follows it would be held as long as it waits for what is in front of it.
            SftpReply::Data(if packet.is_empty() { data } else { Bytes::copy_from_slice(&data) })
        }
        104 => SftpReply::Names(Names { left: take_u32(&mut packet)?, bytes: packet }),
        105 => SftpReply::Attributes(take_attributes(&mut packet)?),
        201 => SftpReply::Extended(packet),
        _ => return Err(MalformedPacket("a packet is of a kind that no server sends")),
    };
    Ok((id, reply))
}

/// The next packet of what came, without its length, once all of it is there.
pub(super) fn split(read: &mut BytesMut) -> Result<Option<Bytes>, MalformedPacket> {
    let Some((length, _)) = read.split_first_chunk() else { return Ok(None) };
    let length = u32::from_be_bytes(*length) as usize;
    if length == 0 || length > LONGEST {
        return Err(MalformedPacket(
            "a packet is empty, or longer than 512 KiB: it may be no SFTP that is spoken there",
        ));
    }
    if read.len() < 4 + length {
        read.reserve(4 + length - read.len());
        return Ok(None);
    }
    read.advance(4);
    Ok(Some(read.split_to(length).freeze()))
}

/// How much the server reads and writes in one packet at most, by its answer to `limits@openssh.com`.
pub(super) fn read_limits(mut packet: Bytes) -> Result<(u64, u64), MalformedPacket> {
    let _of_a_packet = take_u64(&mut packet)?;
    Ok((take_u64(&mut packet)?, take_u64(&mut packet)?))
}

impl Iterator for Names {
    type Item = Result<(Bytes, Attributes), MalformedPacket>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let entry = self.take();
        if entry.is_err() {
            self.left = 0;
        }
        Some(entry)
    }
}

impl Names {
    fn take(&mut self) -> Result<(Bytes, Attributes), MalformedPacket> {
        let name = take_string(&mut self.bytes)?;
        // What `ls -l` would show, in whatever form the server likes.
        let _long = take_string(&mut self.bytes)?;
        Ok((name, take_attributes(&mut self.bytes)?))
    }
}

fn framed(out: &mut BytesMut, kind: u8, write: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    out.put_u32(0);
    out.put_u8(kind);
    write(out);
    let length = u32::try_from(out.len() - start - 4).unwrap_or(u32::MAX);
    if let Some(place) = out.get_mut(start..start + 4) {
        place.copy_from_slice(&length.to_be_bytes());
    }
}

fn put_string(out: &mut BytesMut, bytes: &[u8]) {
    out.put_u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    out.put_slice(bytes);
}

fn take_attributes(packet: &mut Bytes) -> Result<Attributes, MalformedPacket> {
    const SIZE: u32 = 0x01;
    const OWNER: u32 = 0x02;
    const MODE: u32 = 0x04;
    const TIMES: u32 = 0x08;
    const EXTENDED: u32 = 0x8000_0000;
    let flags = take_u32(packet)?;
    let mut attributes = Attributes::default();
    if flags & SIZE != 0 {
        attributes.size = Some(take_u64(packet)?);
    }
    if flags & OWNER != 0 {
        take_u64(packet)?;
    }
    if flags & MODE != 0 {
        attributes.mode = Some(take_u32(packet)?);
    }
    if flags & TIMES != 0 {
        take_u32(packet)?;
        attributes.modified = Some(take_u32(packet)?);
    }
    if flags & EXTENDED != 0 {
        for _ in 0..take_u32(packet)? {
            take_string(packet)?;
            take_string(packet)?;
        }
    }
    Ok(attributes)
}

fn take_string(packet: &mut Bytes) -> Result<Bytes, MalformedPacket> {
    let length = take_u32(packet)? as usize;
    if packet.len() < length { Err(CUT) } else { Ok(packet.split_to(length)) }
}

fn take_u8(packet: &mut Bytes) -> Result<u8, MalformedPacket> {
    packet.try_get_u8().map_err(|_| CUT)
}

fn take_u32(packet: &mut Bytes) -> Result<u32, MalformedPacket> {
    packet.try_get_u32().map_err(|_| CUT)
}

fn take_u64(packet: &mut Bytes) -> Result<u64, MalformedPacket> {
    packet.try_get_u64().map_err(|_| CUT)
}

const CUT: MalformedPacket = MalformedPacket("a packet ends in the middle of what it says");
pub(super) const VERSION: u32 = 3;
pub(super) const POSIX_RENAME: &[u8] = b"posix-rename@openssh.com";
pub(super) const FSYNC: &[u8] = b"fsync@openssh.com";
pub(super) const LIMITS: &[u8] = b"limits@openssh.com";

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn written(request: &Request<'_>) -> Vec<u8> {
        let mut out = BytesMut::new();
        request.write(7, &mut out);
        out.to_vec()
    }

    #[test]
    fn requests_have_the_form_of_the_draft() {
        let open = written(&Request::Open { path: b"/a\xFF", opening: Opening::Read });
        assert_eq!(open, b"\0\0\0\x14\x03\0\0\0\x07\0\0\0\x03/a\xFF\0\0\0\x01\0\0\0\0");
        let read = written(&Request::Read { handle: b"\0", offset: 1 << 32, length: 5 });
        assert_eq!(read, b"\0\0\0\x16\x05\0\0\0\x07\0\0\0\x01\0\0\0\0\x01\0\0\0\0\0\0\0\x05");
        let rename = written(&Request::PosixRename { from: b"a", to: b"b" });
        assert_eq!(&rename[..13], b"\0\0\0\x2b\xC8\0\0\0\x07\0\0\0\x18");
    }

    #[test]
    fn a_status_needs_no_text_and_no_code_that_the_draft_knows() {
        let bare = read_reply(Bytes::from_static(b"\x65\0\0\0\x07\0\0\0\x0B")).unwrap();
        assert_eq!(bare, (7, SftpReply::Status { code: 11, text: Bytes::new() }));
        let told = read_reply(Bytes::from_static(b"\x65\0\0\0\x07\0\0\0\x04\0\0\0\x02no\0\0\0\0")).unwrap();
        assert_eq!(told, (7, SftpReply::Status { code: 4, text: Bytes::from_static(b"no") }));
    }

    #[test]
    fn bytes_of_a_file_hold_no_more_memory_than_their_packet_has_of_them() {
        let packet = Bytes::from([&b"\x67\0\0\0\x07\0\0\0\x01a"[..], &[0; 1000]].concat());
        let (_, SftpReply::Data(data)) = read_reply(packet.clone()).unwrap() else { panic!("no data") };

        assert_eq!(data, b"a"[..]);
        assert!(data.is_unique(), "all {} bytes of the packet are held with it", packet.len());
    }

    #[test]
    fn a_packet_comes_in_any_pieces() {
        let all = b"\0\0\0\x09\x65\0\0\0\x07\0\0\0\x0B\0\0\0\x01\x65";
        for cut in 0..13 {
            let mut read = BytesMut::from(&all[..cut]);
            assert_eq!(split(&mut read), Ok(None), "{cut}");
            read.extend_from_slice(&all[cut..]);
            assert_eq!(split(&mut read).unwrap().unwrap(), all[4..13]);
            assert_eq!(split(&mut read).unwrap().unwrap(), b"\x65"[..]);
        }
    }

    #[test]
    fn what_is_no_sftp_is_known_by_its_length() {
        assert!(split(&mut BytesMut::from(&b"220 ready\r\n"[..])).is_err());
        assert!(split(&mut BytesMut::from(&b"\0\0\0\0"[..])).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(packet in vec(any::<u8>(), 0..64)) {
            let _read = read_version(Bytes::copy_from_slice(&packet));
            if let Ok((_, SftpReply::Names(names))) = read_reply(Bytes::copy_from_slice(&packet)) {
                assert!(names.take(100).count() <= 100);
            }
        }
    }
}
