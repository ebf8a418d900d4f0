//! Writes files in MaxMind's format (MMDB 2.0, 32-bit records, an IPv6 tree), as small as a test needs them.

use std::net::IpAddr;

use serde_json::Value;

/// A file of that type, made at that time (seconds since 1970), in which each network (address and bits) has a record.
pub(crate) fn write(database_type: &str, build_epoch: u32, networks: &[(&str, u8, Value)]) -> Vec<u8> {
    let mut nodes = vec![[Record::Empty; 2]];
    let mut data = Vec::new();
    for (address, bits, record) in networks {
        // IPv4 lies below ::/96.
        let (address, bits) = match address.parse().unwrap() {
            IpAddr::V4(address) => (u128::from(address.to_bits()), bits + 96),
            IpAddr::V6(address) => (address.to_bits(), *bits),
        };
        let offset = u32::try_from(data.len()).unwrap();
        encode(record, &mut data);
        let mut node = 0;
        for depth in 0..bits {
            let side = usize::from(address >> (127 - depth) & 1 == 1);
            if depth + 1 == bits {
                nodes[node][side] = Record::Data(offset);
                break;
            }
            node = match nodes[node][side] {
                Record::Node(next) => next,
                _ => {
                    nodes.push([Record::Empty; 2]);
                    let next = nodes.len() - 1;
                    nodes[node][side] = Record::Node(next);
                    next
                }
            };
        }
    }
    let count = u32::try_from(nodes.len()).unwrap();
    let mut file = Vec::new();
    for record in nodes.iter().flatten() {
        let number = match *record {
            Record::Empty => count,
            Record::Node(node) => u32::try_from(node).unwrap(),
            Record::Data(offset) => count + SEPARATOR + offset,
        };
        file.extend(number.to_be_bytes());
    }
    file.extend([0; SEPARATOR as usize]);
    file.extend(data);
    file.extend(b"\xab\xcd\xefMaxMind.com");
    let metadata = serde_json::json!({
        "binary_format_major_version": 2, "binary_format_minor_version": 0, "build_epoch": build_epoch,
        "database_type": database_type, "description": { "en": "made by a test" }, "ip_version": 6, "languages": ["en"],
        "node_count": count, "record_size": 32,
    });
    encode(&metadata, &mut file);
    file
}

/// Bytes between the tree and the data.
const SEPARATOR: u32 = 16;

#[derive(Clone, Copy)]
enum Record {
    Empty,
    Node(usize),
    Data(u32),
}

fn encode(value: &Value, to: &mut Vec<u8>) {
    match value {
        Value::String(text) => {
            head(2, text.len(), to);
            to.extend(text.as_bytes());
        }
        Value::Number(number) => number_of(6, 4, number.as_u64().unwrap(), to),
        Value::Object(fields) => {
            head(7, fields.len(), to);
            for (key, value) in fields {
                encode(&Value::String(key.clone()), to);
                match (key.as_str(), value) {
                    // The metadata have numbers of other sizes.
                    ("build_epoch", value) => number_of(9, 8, value.as_u64().unwrap(), to),
                    ("binary_format_major_version" | "binary_format_minor_version" | "ip_version" | "record_size", value) => {
                        number_of(5, 2, value.as_u64().unwrap(), to);
                    }
                    (_, value) => encode(value, to),
                }
            }
        }
        Value::Array(items) => {
            head(11, items.len(), to);
            items.iter().for_each(|item| encode(item, to));
        }
        other => panic!("no test needs {other}"),
    }
}

/// A number of so many bytes.
fn number_of(kind: u8, bytes: usize, number: u64, to: &mut Vec<u8>) {
    head(kind, bytes, to);
    to.extend(&number.to_be_bytes()[8 - bytes..]);
}

/// Type and size; the types from 8 on have a byte of their own.
fn head(kind: u8, size: usize, to: &mut Vec<u8>) {
    let (short, more) = if size < 29 { (size, None) } else { (29, Some(size - 29)) };
    let short = u8::try_from(short).unwrap();
    if kind < 8 {
        to.push(kind << 5 | short);
    } else {
        to.extend([short, kind - 7]);
    }
    to.extend(more.map(|more| u8::try_from(more).unwrap()));
}
