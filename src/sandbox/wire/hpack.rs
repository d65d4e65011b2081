//! Header compression (RFC 7541): a whole decoder for requests, and the literals that our answers need.
//!
//! The decoder keeps the dynamic table of the connection and writes into a [`Head`]. Values that are not to be indexed are
//! decoded once: a client repeats its bearer token as the same literal in each request, so the last one is kept with its plain
//! form. It never uses Huffman code or the dynamic table for what it sends: every decoder must read plain literals.
//! A wrong index, a wrong length or a table size beyond ours is an error of the connection (COMPRESSION_ERROR).
use std::collections::VecDeque;

use super::huffman;
use crate::sandbox::exchange::{Field, Head};

/// The dynamic table's size that we announce, in bytes: the default of RFC 7541, and what APNs was seen to announce.
pub(crate) const TABLE_SIZE: usize = 4_096;
/// What each entry costs beyond its bytes (RFC 7541, 4.1).
const ENTRY_OVERHEAD: usize = 32;

/// The header block cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadHeaderBlock;

impl From<huffman::BadHuffman> for BadHeaderBlock {
    fn from(_: huffman::BadHuffman) -> Self {
        Self
    }
}

struct Entry {
    field: Field,
    /// Empty when the field has a slot, whose name is known.
    name: Box<[u8]>,
    name_length: usize,
    value: Box<[u8]>,
}

impl Entry {
    fn size(&self) -> usize {
        self.name_length + self.value.len() + ENTRY_OVERHEAD
    }
}

/// The decoder of one connection.
pub(crate) struct Decoder {
    /// Newest at the back.
    table: VecDeque<Entry>,
    size: usize,
    limit: usize,
    /// The last `authorization` literal: as it came, and plain.
    last_coded: Vec<u8>,
    last_plain: Vec<u8>,
    scratch: Vec<u8>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self {
            table: VecDeque::new(),
            size: 0,
            limit: TABLE_SIZE,
            last_coded: Vec::new(),
            last_plain: Vec::new(),
            scratch: Vec::new(),
        }
    }
}

/// A string literal before its Huffman code is undone.
#[derive(Clone, Copy)]
struct Literal<'a> {
    huffman: bool,
    bytes: &'a [u8],
}

impl Literal<'_> {
    fn write(self, out: &mut Vec<u8>) -> Result<(), BadHeaderBlock> {
        if self.huffman {
            huffman::decode(self.bytes, out)?;
        } else {
            out.extend_from_slice(self.bytes);
        }
        Ok(())
    }
}

impl Decoder {
    /// Reads one whole header block into `head`.
    ///
    /// # Errors
    /// [`BadHeaderBlock`]; the connection cannot go on, because the two tables no longer agree.
    pub(crate) fn decode(&mut self, mut block: &[u8], head: &mut Head) -> Result<(), BadHeaderBlock> {
        let mut first = true;
        while let Some(&byte) = block.first() {
            if byte & 0x80 != 0 {
                let index = integer(&mut block, 7)?;
                self.indexed(index, head)?;
            } else if byte & 0xc0 == 0x40 {
                let index = integer(&mut block, 6)?;
                self.literal_indexed(index, &mut block, head)?;
            } else if byte & 0xe0 == 0x20 {
                let limit = integer(&mut block, 5)?;
                // Only at the beginning of a block, and never beyond what we announced (RFC 7541, 4.2 and 6.3).
                if !first || limit > TABLE_SIZE {
                    return Err(BadHeaderBlock);
                }
                self.limit = limit;
                self.evict(0);
                continue;
            } else {
                let index = integer(&mut block, 4)?;
                self.literal_plain(index, &mut block, head)?;
            }
            first = false;
        }
        Ok(())
    }

    fn indexed(&self, index: usize, head: &mut Head) -> Result<(), BadHeaderBlock> {
        if index <= STATIC.len() {
            let (name, value) = STATIC[index.checked_sub(1).ok_or(BadHeaderBlock)?];
            return head.add(Field::of(name.as_bytes()), name.as_bytes(), |out| {
                out.extend_from_slice(value.as_bytes());
                Ok(())
            });
        }
        let entry = self.dynamic(index)?;
        head.add(entry.field, &entry.name, |out| {
            out.extend_from_slice(&entry.value);
            Ok(())
        })
    }

    fn dynamic(&self, index: usize) -> Result<&Entry, BadHeaderBlock> {
        let back = index - STATIC.len();
        self.table.len().checked_sub(back).and_then(|at| self.table.get(at)).ok_or(BadHeaderBlock)
    }

    /// Reads the name of a literal into `self.scratch` (left empty for a field with a slot): the field and the name's length.
    fn name(&mut self, index: usize, block: &mut &[u8]) -> Result<(Field, usize), BadHeaderBlock> {
        self.scratch.clear();
        if index == 0 {
            literal(block)?.write(&mut self.scratch)?;
        } else if index <= STATIC.len() {
            self.scratch.extend_from_slice(STATIC[index - 1].0.as_bytes());
        } else {
            let back = index - STATIC.len();
            let at = self.table.len().checked_sub(back).ok_or(BadHeaderBlock)?;
            let entry = self.table.get(at).ok_or(BadHeaderBlock)?;
            if entry.field != Field::Other {
                return Ok((entry.field, entry.name_length));
            }
            self.scratch.extend_from_slice(&entry.name);
        }
        Ok((Field::of(&self.scratch), self.scratch.len()))
    }

    fn literal_plain(&mut self, index: usize, block: &mut &[u8], head: &mut Head) -> Result<(), BadHeaderBlock> {
        let (field, _) = self.name(index, block)?;
        let value = literal(block)?;
        if field == Field::Authorization && value.huffman {
            if self.last_coded != value.bytes {
                self.last_plain.clear();
                self.last_coded.clear();
                value.write(&mut self.last_plain)?;
                self.last_coded.extend_from_slice(value.bytes);
            }
            let plain = &self.last_plain;
            return head.add(field, &[], |out| {
                out.extend_from_slice(plain);
                Ok(())
            });
        }
        head.add(field, &self.scratch, |out| value.write(out))
    }

    fn literal_indexed(&mut self, index: usize, block: &mut &[u8], head: &mut Head) -> Result<(), BadHeaderBlock> {
        let (field, name_length) = self.name(index, block)?;
        let literal = literal(block)?;
        let mut value = Vec::with_capacity(literal.bytes.len() * 2);
        literal.write(&mut value)?;
        head.add(field, &self.scratch, |out| {
            out.extend_from_slice(&value);
            Ok::<(), BadHeaderBlock>(())
        })?;
        let name: Box<[u8]> = if field == Field::Other { self.scratch.as_slice().into() } else { Box::default() };
        let entry = Entry { field, name, name_length, value: value.into_boxed_slice() };
        let size = entry.size();
        self.evict(size);
        // An entry larger than the table empties it and is not kept (RFC 7541, 4.4).
        if size <= self.limit {
            self.size += size;
            self.table.push_back(entry);
        }
        Ok(())
    }

    /// Drops the oldest entries until `more` bytes fit.
    fn evict(&mut self, more: usize) {
        while self.size + more > self.limit {
            let Some(entry) = self.table.pop_front() else { break };
            self.size -= entry.size();
        }
    }
}

/// Reads an integer with a prefix of `bits` bits (RFC 7541, 5.1), at most 2^28 or so: nothing here is longer.
fn integer(block: &mut &[u8], bits: u32) -> Result<usize, BadHeaderBlock> {
    let (&byte, mut rest) = block.split_first().ok_or(BadHeaderBlock)?;
    let mask = (1_usize << bits) - 1;
    let mut value = usize::from(byte) & mask;
    if value == mask {
        let mut shift = 0;
        loop {
            let (&byte, after) = rest.split_first().ok_or(BadHeaderBlock)?;
            rest = after;
            value += usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
            shift += 7;
            if shift > 21 {
                return Err(BadHeaderBlock);
            }
        }
    }
    *block = rest;
    Ok(value)
}

fn literal<'a>(block: &mut &'a [u8]) -> Result<Literal<'a>, BadHeaderBlock> {
    let huffman = block.first().ok_or(BadHeaderBlock)? & 0x80 != 0;
    let length = integer(block, 7)?;
    let (bytes, rest) = block.split_at_checked(length).ok_or(BadHeaderBlock)?;
    *block = rest;
    Ok(Literal { huffman, bytes })
}

fn put_integer(out: &mut Vec<u8>, value: usize, bits: u32, flags: u8) {
    let mask = (1_usize << bits) - 1;
    if value < mask {
        out.push(flags | value as u8);
        return;
    }
    out.push(flags | mask as u8);
    let mut rest = value - mask;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Writes the status: one byte where the static table has it.
pub(crate) fn put_status(out: &mut Vec<u8>, status: u16) {
    let indexed = match status {
        200 => 8,
        204 => 9,
        400 => 12,
        404 => 13,
        500 => 14,
        _ => {
            out.push(8); // literal without indexing, name 8 (:status)
            out.push(3);
            out.extend([status / 100 % 10, status / 10 % 10, status % 10].map(|digit| b'0' + digit as u8));
            return;
        }
    };
    out.push(0x80 | indexed);
}

/// Writes a header as a plain literal that is not indexed.
pub(crate) fn put_literal(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.push(0);
    put_integer(out, name.len(), 7, 0);
    out.extend_from_slice(name);
    put_integer(out, value.len(), 7, 0);
    out.extend_from_slice(value);
}

/// The static table (RFC 7541, Appendix A), from index 1.
#[rustfmt::skip]
const STATIC: [(&str, &str); 61] = [
    (":authority", ""), (":method", "GET"), (":method", "POST"), (":path", "/"), (":path", "/index.html"),
    (":scheme", "http"), (":scheme", "https"), (":status", "200"), (":status", "204"), (":status", "206"),
    (":status", "304"), (":status", "400"), (":status", "404"), (":status", "500"), ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"), ("accept-language", ""), ("accept-ranges", ""), ("accept", ""),
    ("access-control-allow-origin", ""), ("age", ""), ("allow", ""), ("authorization", ""), ("cache-control", ""),
    ("content-disposition", ""), ("content-encoding", ""), ("content-language", ""), ("content-length", ""),
    ("content-location", ""), ("content-range", ""), ("content-type", ""), ("cookie", ""), ("date", ""), ("etag", ""),
    ("expect", ""), ("expires", ""), ("from", ""), ("host", ""), ("if-match", ""), ("if-modified-since", ""),
    ("if-none-match", ""), ("if-range", ""), ("if-unmodified-since", ""), ("last-modified", ""), ("link", ""),
    ("location", ""), ("max-forwards", ""), ("proxy-authenticate", ""), ("proxy-authorization", ""), ("range", ""),
    ("referer", ""), ("refresh", ""), ("retry-after", ""), ("server", ""), ("set-cookie", ""),
    ("strict-transport-security", ""), ("transfer-encoding", ""), ("user-agent", ""), ("vary", ""), ("via", ""),
    ("www-authenticate", ""),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(decoder: &mut Decoder, block: &[u8]) -> Vec<(String, String)> {
        let mut head = Head::default();
        decoder.decode(block, &mut head).unwrap();
        let known = crate::sandbox::exchange::FIELDS
            .iter()
            .filter_map(|(field, name)| head.get(*field).map(|value| ((*name).to_owned(), text(value))));
        known.chain(head.others().map(|(name, value)| (text(name), text(value)))).collect()
    }

    fn text(bytes: &[u8]) -> String {
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    fn bytes(hex: &str) -> Vec<u8> {
        let hex: Vec<u8> = hex.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
        hex.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
    }

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn three_requests_with_huffman_share_one_table() {
        // RFC 7541, C.4: the second and third request refer to entries that the earlier ones added.
        let mut decoder = Decoder::default();
        let common = [(":method", "GET"), (":path", "/"), (":scheme", "http"), (":authority", "www.example.com")];
        assert_eq!(decoded(&mut decoder, &bytes("8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff")), pairs(&common));
        let second = decoded(&mut decoder, &bytes("8286 84be 5886 a8eb 1064 9cbf"));
        assert_eq!(second, [pairs(&common), pairs(&[("cache-control", "no-cache")])].concat());
        let third = decoded(&mut decoder, &bytes("8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf"));
        assert_eq!(
            third,
            pairs(&[
                (":method", "GET"),
                (":path", "/index.html"),
                (":scheme", "https"),
                (":authority", "www.example.com"),
                ("custom-key", "custom-value"),
            ])
        );
        assert_eq!(decoder.size, 164, "the table's size after C.4.3");
    }

    #[test]
    fn a_smaller_table_evicts_and_a_larger_one_than_announced_is_refused() {
        // RFC 7541, 4.2 and 4.3: the peer may shrink the table at the start of a block, never grow it beyond our setting.
        let mut decoder = Decoder::default();
        decoded(&mut decoder, &bytes("400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572"));
        assert_eq!(decoder.table.len(), 1);
        decoded(&mut decoder, &[0x20]);
        assert_eq!((decoder.table.len(), decoder.size), (0, 0));
        let mut head = Head::default();
        assert_eq!(decoder.decode(&[0xbe], &mut head), Err(BadHeaderBlock), "index 62 is gone");
        assert_eq!(decoder.decode(&[0x3f, 0xe2, 0x1f], &mut head), Err(BadHeaderBlock), "4097 bytes");
        assert_eq!(decoder.decode(&[0x82, 0x20], &mut head), Err(BadHeaderBlock), "an update in mid-block");
    }

    #[test]
    fn a_repeated_authorization_literal_is_read_the_same_each_time() {
        // The kept plain form belongs to the kept coded form: a changed token replaces both.
        let mut decoder = Decoder::default();
        let one = bytes("0f08 85ae c377 1a4b");
        let two = bytes("1f08 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff");
        for (block, want) in [(&one, "private"), (&one, "private"), (&two, "www.example.com"), (&one, "private")] {
            assert_eq!(decoded(&mut decoder, block), pairs(&[("authorization", want)]));
        }
        assert!(decoder.table.is_empty());
    }

    proptest::proptest! {
        #[test]
        fn strange_blocks_never_panic(blocks: Vec<Vec<u8>>) {
            // Bytes from a stranger end in headers or in an error, and the table keeps its limit.
            let mut decoder = Decoder::default();
            for block in blocks {
                let mut head = Head::default();
                if decoder.decode(&block, &mut head).is_err() {
                    break;
                }
                proptest::prop_assert!(decoder.size <= TABLE_SIZE);
            }
        }
    }

    #[test]
    fn our_literals_are_read_back() {
        // What we write as status and literal headers is what a decoder sees; long values use the long form of the length.
        let long = "x".repeat(300);
        for status in [200_u16, 204, 400, 404, 410, 429, 500, 503] {
            let mut block = Vec::new();
            put_status(&mut block, status);
            put_literal(&mut block, b"retry-after", long.as_bytes());
            let want = pairs(&[(":status", &status.to_string()), ("retry-after", &long)]);
            assert_eq!(decoded(&mut Decoder::default(), &block), want);
        }
    }
}
