//! As much of DER (ITU-T X.690) as a time stamp needs: tags of one byte, definite lengths in their shortest form.

/// Deepest field that the format of a time stamp has is reached by calls, not by recursion; the only bound needed is on length.
const LENGTH_BYTES_MAX: usize = 4;

pub(super) const BOOLEAN: u8 = 0x01;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const NULL: u8 = 0x05;
pub(super) const OID: u8 = 0x06;
pub(super) const GENERALIZED_TIME: u8 = 0x18;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;
/// `[0]`, constructed.
pub(super) const CONTEXT_0: u8 = 0xa0;
/// `[1]`, constructed.
pub(super) const CONTEXT_1: u8 = 0xa1;
/// `[3]`, constructed.
pub(super) const CONTEXT_3: u8 = 0xa3;

/// Values one after the other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a>(&'a [u8]);

/// One value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Value<'a> {
    pub(super) tag: u8,
    pub(super) content: &'a [u8],
    /// With tag and length.
    pub(super) whole: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next value; `None` when there is none, or it is not DER.
    pub(super) fn any(&mut self) -> Option<Value<'a>> {
        let (tag, rest) = self.0.split_first()?;
        // Tags of more than one byte stand in nothing that is read here.
        if tag & 0x1f == 0x1f {
            return None;
        }
        let (first, rest) = rest.split_first()?;
        let (length, rest) = if *first < 0x80 {
            (usize::from(*first), rest)
        } else {
            let count = usize::from(first & 0x7f);
            if !(1..=LENGTH_BYTES_MAX).contains(&count) {
                return None;
            }
            let (bytes, rest) = rest.split_at_checked(count)?;
            let length = bytes.iter().fold(0_usize, |length, byte| length << 8 | usize::from(*byte));
            // The shortest form, and no other.
            if bytes[0] == 0 || length < 0x80 {
                return None;
            }
            (length, rest)
        };
        let (content, rest) = rest.split_at_checked(length)?;
        let whole = &self.0[..self.0.len() - rest.len()];
        self.0 = rest;
        Some(Value { tag: *tag, content, whole })
    }

    /// The next value, which must have that tag.
    pub(super) fn next(&mut self, tag: u8) -> Option<Value<'a>> {
        let mut ahead = *self;
        let value = ahead.any().filter(|value| value.tag == tag)?;
        *self = ahead;
        Some(value)
    }

    /// Goes into the next value.
    pub(super) fn enter(&mut self, tag: u8) -> Option<Reader<'a>> {
        self.next(tag).map(|value| Reader(value.content))
    }
}

/// Writes one value.
pub(super) fn write(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    let length = content.len();
    if length < 0x80 {
        bytes.push(u8::try_from(length).unwrap_or(0));
    } else {
        let digits: Vec<u8> = length.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
        bytes.push(0x80 | u8::try_from(digits.len()).unwrap_or(0));
        bytes.extend(digits);
    }
    bytes.extend_from_slice(content);
    bytes
}

/// Writes a number without sign.
pub(super) fn write_unsigned(number: u64) -> Vec<u8> {
    let mut digits: Vec<u8> = number.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
    if digits.first().is_none_or(|first| first & 0x80 != 0) {
        digits.insert(0, 0);
    }
    write(INTEGER, &digits)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_the_shortest_form_is_read() {
        let read = |bytes: &[u8]| Reader::new(bytes).any().map(|value| value.content.to_vec());
        assert_eq!(read(&[4, 1, 9]), Some(vec![9]));
        assert_eq!(read(&[4, 0x81, 1, 9]), None, "a long length where a short one does");
        assert_eq!(read(&[4, 0x82, 0, 200]), None);
        assert_eq!(read(&[0x30, 0x80, 0, 0]), None, "no end given");
        assert_eq!(read(&[4, 2, 9]), None);
        assert_eq!(read(&[0x1f, 1, 9]), None);
        assert_eq!(read(&[4, 0x85, 0, 0, 0, 0, 1, 9]), None);
        for (number, bytes) in [(0, &[2, 1, 0][..]), (127, &[2, 1, 127]), (128, &[2, 2, 0, 128]), (256, &[2, 2, 1, 0])] {
            assert_eq!(write_unsigned(number), bytes);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_and_no_bytes_panic(content in proptest::collection::vec(any::<u8>(), 0..300), bytes in any::<Vec<u8>>()) {
            let written = write(OCTET_STRING, &content);
            let value = Reader::new(&written).next(OCTET_STRING).unwrap();
            prop_assert_eq!((value.content, value.whole), (content.as_slice(), written.as_slice()));
            let mut reader = Reader::new(&bytes);
            while reader.any().is_some() {}
        }
    }
}
