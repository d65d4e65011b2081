//! Decodes the Huffman code of HTTP/2 header strings (RFC 7541, Appendix B).
//!
//! The code is canonical, so the 257 lengths are the whole table: the codes follow from them. Strings are read through an
//! eight-bit look-up, which covers every character that headers are made of; rarer ones take the canonical search.
//! It does not encode: the sandbox writes its few answers as plain literals.
//! Bytes that are no Huffman code, or that end in wrong padding, are an error of the whole connection.
use std::sync::LazyLock;

/// Symbols of the code: 256 bytes and the end-of-string mark.
const SYMBOLS: usize = 257;
/// The end-of-string mark, which may only appear as padding.
const END_OF_STRING: usize = 256;
/// The longest code, in bits.
const LONGEST: usize = 30;
/// Codes up to this many bits are found by one look-up.
const FAST_BITS: u32 = 8;

/// Length in bits of the code of each symbol (RFC 7541, Appendix B).
#[rustfmt::skip]
const LENGTHS: [u8; SYMBOLS] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

/// The string is not a Huffman code of RFC 7541.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadHuffman;

struct Tables {
    /// By the next eight bits: symbol and length; length 0 means a longer code.
    fast: [(u8, u8); 1 << FAST_BITS],
    /// By length: the first code, how many codes, where their symbols begin in `symbols`.
    first: [u32; LONGEST + 1],
    count: [u32; LONGEST + 1],
    start: [usize; LONGEST + 1],
    symbols: Vec<u16>,
}

static TABLES: LazyLock<Tables> = LazyLock::new(Tables::build);

impl Tables {
    fn build() -> Self {
        let mut tables = Self {
            fast: [(0, 0); 1 << FAST_BITS],
            first: [0; LONGEST + 1],
            count: [0; LONGEST + 1],
            start: [0; LONGEST + 1],
            symbols: Vec::with_capacity(SYMBOLS),
        };
        let mut code = 0_u32;
        for length in 1..=LONGEST {
            code <<= 1;
            tables.first[length] = code;
            tables.start[length] = tables.symbols.len();
            for (symbol, _) in LENGTHS.iter().enumerate().filter(|(_, bits)| usize::from(**bits) == length) {
                tables.symbols.push(symbol as u16);
                if length <= FAST_BITS as usize {
                    let spare = FAST_BITS as usize - length;
                    let from = (code as usize) << spare;
                    tables.fast[from..from + (1 << spare)].fill((symbol as u8, length as u8));
                }
                code += 1;
                tables.count[length] += 1;
            }
        }
        tables
    }

    /// The symbol at the top of `bits`, whose code is longer than the look-up.
    fn search(&self, bits: u64) -> Option<(usize, u32)> {
        for length in FAST_BITS as usize + 1..=LONGEST {
            let code = (bits >> (64 - length)) as u32;
            let index = code.wrapping_sub(self.first[length]);
            if index < self.count[length] {
                return Some((usize::from(self.symbols[self.start[length] + index as usize]), length as u32));
            }
        }
        None
    }
}

/// Appends the decoded bytes of `coded` to `out`.
///
/// # Errors
/// [`BadHuffman`] for the end-of-string mark inside the string and for padding that is longer than seven bits or not all ones.
pub(crate) fn decode(coded: &[u8], out: &mut Vec<u8>) -> Result<(), BadHuffman> {
    let tables = &*TABLES;
    let mut rest = coded.iter();
    let (mut bits, mut held) = (0_u64, 0_u32);
    loop {
        while held <= 56 {
            let Some(byte) = rest.next() else { break };
            bits |= u64::from(*byte) << (56 - held);
            held += 8;
        }
        if held == 0 {
            return Ok(());
        }
        // Beyond the end we read ones, as the padding has them.
        let padded = if held < 64 { bits | (u64::MAX >> held) } else { bits };
        let (symbol, length) = match tables.fast[(padded >> (64 - FAST_BITS)) as usize] {
            (_, 0) => tables.search(padded).ok_or(BadHuffman)?,
            (symbol, length) => (usize::from(symbol), u32::from(length)),
        };
        if length > held || symbol == END_OF_STRING {
            let all_ones = padded == u64::MAX;
            return if held < 8 && all_ones { Ok(()) } else { Err(BadHuffman) };
        }
        out.push(symbol as u8);
        bits <<= length;
        held -= length;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An encoder for the tests: the canonical codes, rebuilt from the lengths in another way (sorted by length and symbol).
    fn encode(text: &[u8]) -> Vec<u8> {
        let mut order: Vec<usize> = (0..SYMBOLS).collect();
        order.sort_by_key(|symbol| (LENGTHS[*symbol], *symbol));
        let mut codes = vec![0_u32; SYMBOLS];
        let (mut code, mut previous) = (0_u32, LENGTHS[order[0]]);
        for symbol in order {
            code <<= LENGTHS[symbol] - previous;
            previous = LENGTHS[symbol];
            codes[symbol] = code;
            code += 1;
        }
        let mut bits: Vec<bool> = Vec::new();
        for byte in text {
            let (code, length) = (codes[usize::from(*byte)], LENGTHS[usize::from(*byte)]);
            bits.extend((0..length).rev().map(|bit| code >> bit & 1 == 1));
        }
        while !bits.len().is_multiple_of(8) {
            bits.push(true);
        }
        bits.chunks(8).map(|byte| byte.iter().fold(0, |sum, bit| sum << 1 | u8::from(*bit))).collect()
    }

    #[test]
    fn the_examples_of_the_rfc_decode() {
        // RFC 7541, C.4.1 and C.6.1: the published bytes give the published strings.
        for (coded, plain) in [
            (&[0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff][..], "www.example.com"),
            (&[0xae, 0xc3, 0x77, 0x1a, 0x4b], "private"),
            (
                &[0x9d, 0x29, 0xad, 0x17, 0x18, 0x63, 0xc7, 0x8f, 0x0b, 0x97, 0xc8, 0xe9, 0xae, 0x82, 0xae, 0x43, 0xd3],
                "https://www.example.com",
            ),
        ] {
            let mut out = Vec::new();
            assert_eq!(decode(coded, &mut out), Ok(()));
            assert_eq!(out, plain.as_bytes());
        }
    }

    proptest::proptest! {
        #[test]
        fn every_string_of_bytes_survives(text: Vec<u8>) {
            // What another encoder of the same table writes, the decoder reads back, rare bytes included.
            let mut out = Vec::new();
            proptest::prop_assert_eq!(decode(&encode(&text), &mut out), Ok(()));
            proptest::prop_assert_eq!(out, text);
        }

        #[test]
        fn strange_bytes_never_panic(coded: Vec<u8>) {
            // Bytes from a stranger end in a string or an error.
            let mut out = Vec::new();
            proptest::prop_assert!(matches!(decode(&coded, &mut out), Ok(()) | Err(BadHuffman)));
        }
    }

    #[test]
    fn wrong_padding_is_refused() {
        // Padding is at most seven bits, all ones (RFC 7541, 5.2).
        let mut out = Vec::new();
        assert_eq!(decode(&[0b0000_0000], &mut out), Err(BadHuffman), "five bits of '0', then padding of zeros");
        assert_eq!(decode(&[0xff], &mut out), Err(BadHuffman), "eight bits of padding");
        assert_eq!(decode(&[0xff, 0xff, 0xff, 0xff], &mut out), Err(BadHuffman), "the end-of-string mark");
    }
}
