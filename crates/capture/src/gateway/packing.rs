//! Answers that an upstream packed though it was asked for them as they are (`Content-Encoding`).

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use http::{HeaderMap, header};

/// How an answer is packed, though it was asked for as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    Plain,
    Gzip,
    /// In a way, or in more ways than one, that is not undone here.
    Other,
}

impl Packing {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let all = headers.get_all(header::CONTENT_ENCODING).iter();
        let named: Vec<String> = all
            .flat_map(|value| {
                let value = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
                value.split(',').map(|name| name.trim().to_owned()).collect::<Vec<_>>()
            })
            .filter(|name| !name.is_empty() && name != "identity")
            .collect();
        match named.as_slice() {
            [] => Self::Plain,
            [one] if one == "gzip" || one == "x-gzip" => Self::Gzip,
            _ => Self::Other,
        }
    }
}

/// An answer as it is; `None` when that cannot be had.
pub(super) async fn unpacked(packing: Packing, body: &Bytes, bytes_max: usize) -> Option<Bytes> {
    match packing {
        Packing::Plain => Some(body.clone()),
        Packing::Other => None,
        Packing::Gzip => {
            let body = body.clone();
            let plain = tokio::task::spawn_blocking(move || gunzip(&body, bytes_max));
            plain.await.ok().flatten().map(Bytes::from)
        }
    }
}

/// Unpacks what an upstream packed though it was asked not to. `None` when it is too large or not what it says.
fn gunzip(body: &[u8], bytes_max: usize) -> Option<Vec<u8>> {
    let mut plain = Vec::new();
    let limit = bytes_max as u64 + 1;
    std::io::Read::read_to_end(&mut std::io::Read::take(MultiGzDecoder::new(body), limit), &mut plain).ok()?;
    (plain.len() <= bytes_max).then_some(plain)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn identity_is_no_packing_and_two_are_too_many() {
        let cases: [(&[&'static str], Packing); 7] = [
            (&[], Packing::Plain),
            (&["identity"], Packing::Plain),
            (&["GZIP"], Packing::Gzip),
            (&["identity, x-gzip"], Packing::Gzip),
            (&["gzip, gzip"], Packing::Other),
            (&["gzip", "br"], Packing::Other),
            (&["zstd"], Packing::Other),
        ];
        for (values, expected) in cases {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::CONTENT_ENCODING, HeaderValue::from_static(value));
            }
            assert_eq!(Packing::of(&headers), expected, "{values:?}");
        }
    }
}
