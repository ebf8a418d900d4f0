//! The fields of an answer: TimeStampResp with a token, which is a CMS SignedData over a TSTInfo.

use aws_lc_rs::digest::{SHA256, SHA384, SHA512, digest};

use super::der::{
    BOOLEAN, CONTEXT_0, CONTEXT_1, CONTEXT_3, GENERALIZED_TIME, INTEGER, OCTET_STRING, OID, Reader, SEQUENCE, SET, Value,
};
use super::{SHA_256_OID, TIMESTAMP_BYTES_MAX, TimestampError};
use crate::tree::Hash;

/// 1.2.840.113549.1.7.2, id-signedData.
const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 2];
/// 1.2.840.113549.1.9.16.1.4, id-ct-TSTInfo.
const TST_INFO: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 16, 1, 4];
/// 1.2.840.113549.1.9.3, id-contentType.
const CONTENT_TYPE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 3];
/// 1.2.840.113549.1.9.4, id-messageDigest.
const MESSAGE_DIGEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 4];
/// 1.2.840.113549.1.9.16.2.12, id-aa-signingCertificate.
const SIGNING_CERTIFICATE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 16, 2, 12];
/// 1.2.840.113549.1.9.16.2.47, id-aa-signingCertificateV2.
const SIGNING_CERTIFICATE_V2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 16, 2, 47];
/// 2.16.840.1.101.3.4.2.2 and .3.
const SHA_384_OID: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2];
const SHA_512_OID: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3];
/// 2.5.29.37, id-ce-extKeyUsage.
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 37];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Digest {
    Sha256,
    Sha384,
    Sha512,
}

/// Which certificate the signer says it signed with.
#[derive(Debug)]
pub(super) enum CertificateId<'a> {
    /// ESSCertID: SHA-1.
    V1(&'a [u8]),
    /// ESSCertIDv2.
    V2(Digest, &'a [u8]),
}

#[derive(Debug)]
pub(super) struct Stamp<'a> {
    pub(super) imprint: Hash,
    /// The content octets of the INTEGER.
    pub(super) nonce: Option<&'a [u8]>,
    pub(super) time: u64,
    /// The TSTInfo as it was signed.
    pub(super) content: &'a [u8],
    pub(super) certificates: Vec<&'a [u8]>,
    pub(super) digest: Digest,
    pub(super) message_digest: &'a [u8],
    pub(super) certificate: CertificateId<'a>,
    /// As a SET, which is what the signature is over.
    pub(super) signed_attributes: Vec<u8>,
    pub(super) signature: &'a [u8],
}

impl Digest {
    pub(super) fn of(self, bytes: &[u8]) -> Vec<u8> {
        let algorithm = match self {
            Self::Sha256 => &SHA256,
            Self::Sha384 => &SHA384,
            Self::Sha512 => &SHA512,
        };
        digest(algorithm, bytes).as_ref().to_vec()
    }

    /// From an AlgorithmIdentifier's content.
    fn read(mut algorithm: Reader<'_>) -> Option<Self> {
        match algorithm.next(OID)?.content {
            SHA_256_OID => Some(Self::Sha256),
            SHA_384_OID => Some(Self::Sha384),
            SHA_512_OID => Some(Self::Sha512),
            _ => None,
        }
    }
}

impl<'a> Stamp<'a> {
    pub(super) fn parse(answer: &'a [u8]) -> Result<Self, TimestampError> {
        if answer.len() > TIMESTAMP_BYTES_MAX {
            return Err(TimestampError::Form("the answer is too long"));
        }
        let mut outer = Reader::new(answer);
        let mut response = outer.enter(SEQUENCE).ok_or(TimestampError::Form("the answer is not DER"))?;
        let mut status = response.enter(SEQUENCE).ok_or(TimestampError::Form("the answer has no status"))?;
        match status.next(INTEGER).and_then(small) {
            // Granted, or granted with modifications.
            Some(0 | 1) if outer.is_empty() => {}
            Some(0 | 1) => return Err(TimestampError::Form("something stands behind the answer")),
            Some(other) => return Err(TimestampError::Refused(other)),
            None => return Err(TimestampError::Form("the answer has no status")),
        }
        token(response).ok_or(TimestampError::Form("the token is not a SignedData over a TSTInfo by one signer, in DER"))
    }
}

fn token(mut response: Reader<'_>) -> Option<Stamp<'_>> {
    let mut content_info = response.enter(SEQUENCE)?;
    if content_info.next(OID)?.content != SIGNED_DATA || !response.is_empty() {
        return None;
    }
    let mut signed = content_info.enter(CONTEXT_0)?.enter(SEQUENCE)?;
    signed.next(INTEGER)?;
    signed.next(SET)?;
    let mut encapsulated = signed.enter(SEQUENCE)?;
    if encapsulated.next(OID)?.content != TST_INFO {
        return None;
    }
    let content = encapsulated.enter(CONTEXT_0)?.next(OCTET_STRING)?.content;
    let mut certificates = Vec::new();
    if let Some(mut set) = signed.enter(CONTEXT_0) {
        while !set.is_empty() {
            certificates.push(set.next(SEQUENCE)?.whole);
        }
    }
    signed.next(CONTEXT_1);
    let mut signers = signed.enter(SET)?;
    let mut signer = signers.enter(SEQUENCE)?;
    if !signers.is_empty() || !signed.is_empty() {
        return None;
    }
    signer.next(INTEGER)?;
    // The signer's name; the signed attributes name its certificate by hash, which is stronger.
    signer.any()?;
    let digest = Digest::read(signer.enter(SEQUENCE)?)?;
    let attributes = signer.next(CONTEXT_0)?;
    signer.next(SEQUENCE)?;
    let signature = signer.next(OCTET_STRING)?.content;
    let (message_digest, certificate) = signed_attributes(attributes)?;
    let mut signed_attributes = attributes.whole.to_vec();
    signed_attributes[0] = SET;
    let (imprint, nonce, time) = info(content)?;
    Some(Stamp { imprint, nonce, time, content, certificates, digest, message_digest, certificate, signed_attributes, signature })
}

fn signed_attributes(attributes: Value<'_>) -> Option<(&[u8], CertificateId<'_>)> {
    let (mut is_tst_info, mut message_digest, mut certificate) = (false, None, None);
    let mut reader = Reader::new(attributes.content);
    while !reader.is_empty() {
        let mut attribute = reader.enter(SEQUENCE)?;
        let kind = attribute.next(OID)?.content;
        let mut values = attribute.enter(SET)?;
        // Each may come once, with one value (RFC 5652, section 11).
        match kind {
            CONTENT_TYPE if !is_tst_info => is_tst_info = values.next(OID)?.content == TST_INFO && values.is_empty(),
            MESSAGE_DIGEST if message_digest.is_none() => message_digest = Some(values.next(OCTET_STRING)?.content),
            CONTENT_TYPE | MESSAGE_DIGEST => return None,
            SIGNING_CERTIFICATE if certificate.is_none() => {
                let mut first = values.enter(SEQUENCE)?.enter(SEQUENCE)?.enter(SEQUENCE)?;
                certificate = Some(CertificateId::V1(first.next(OCTET_STRING)?.content));
            }
            // The newer one is the one that counts where both stand.
            SIGNING_CERTIFICATE_V2 => {
                let mut first = values.enter(SEQUENCE)?.enter(SEQUENCE)?.enter(SEQUENCE)?;
                let digest = first.enter(SEQUENCE).map_or(Some(Digest::Sha256), Digest::read)?;
                certificate = Some(CertificateId::V2(digest, first.next(OCTET_STRING)?.content));
            }
            _ => {}
        }
    }
    if is_tst_info { Some((message_digest?, certificate?)) } else { None }
}

fn info(content: &[u8]) -> Option<(Hash, Option<&[u8]>, u64)> {
    let mut outer = Reader::new(content);
    let mut info = outer.enter(SEQUENCE)?;
    if small(info.next(INTEGER)?)? != 1 || !outer.is_empty() {
        return None;
    }
    info.next(OID)?;
    let mut imprint = info.enter(SEQUENCE)?;
    if Digest::read(imprint.enter(SEQUENCE)?)? != Digest::Sha256 {
        return None;
    }
    let imprint = imprint.next(OCTET_STRING)?.content.try_into().ok()?;
    info.next(INTEGER)?;
    let time = unix_time(info.next(GENERALIZED_TIME)?.content)?;
    info.next(SEQUENCE);
    info.next(BOOLEAN);
    let nonce = info.next(INTEGER).map(|nonce| nonce.content);
    Some((imprint, nonce, time))
}

fn small(integer: Value<'_>) -> Option<u64> {
    match integer.content {
        [byte] if *byte < 0x80 => Some(u64::from(*byte)),
        _ => None,
    }
}

/// `YYYYMMDDhhmmss[.f…]Z` in seconds since 1970; parts of a second are cut off.
fn unix_time(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let (digits, fraction) = text.split_once('.').unwrap_or((text, "1"));
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits.len() != 14 || !is_digits(digits) || !is_digits(fraction) {
        return None;
    }
    let part = |from: usize, to: usize| digits.get(from..to)?.parse::<u64>().ok();
    let (year, month, day) = (part(0, 4)?, part(4, 6)?, part(6, 8)?);
    let (hour, minute, second) = (part(8, 10)?, part(10, 12)?, part(12, 14)?);
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let lengths = [31, if is_leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let month = usize::try_from(month).ok()?.checked_sub(1)?;
    if year < 1970 || !(1..=*lengths.get(month)?).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let before = year - 1;
    let leaps = before / 4 - before / 100 + before / 400 - (1969 / 4 - 1969 / 100 + 1969 / 400);
    let days = (year - 1970) * 365 + leaps + lengths[..month].iter().sum::<u64>() + day - 1;
    Some(days * 86_400 + hour * 3_600 + minute * 60 + second)
}

/// Whether the certificate has the extended key usage for time stamps, as the only one, and critical (RFC 3161, section 2.3).
pub(super) fn is_for_time_stamps_alone(certificate: &[u8], purpose: &[u8]) -> bool {
    purposes(certificate).is_some_and(|(is_critical, mut purposes)| {
        is_critical && purposes.next(OID).is_some_and(|oid| oid.content == purpose) && purposes.is_empty()
    })
}

fn purposes(certificate: &[u8]) -> Option<(bool, Reader<'_>)> {
    let mut fields = Reader::new(certificate).enter(SEQUENCE)?.enter(SEQUENCE)?;
    while !fields.is_empty() {
        let field = fields.any()?;
        if field.tag != CONTEXT_3 {
            continue;
        }
        let mut extensions = Reader::new(field.content).enter(SEQUENCE)?;
        while !extensions.is_empty() {
            let mut extension = extensions.enter(SEQUENCE)?;
            let kind = extension.next(OID)?.content;
            let is_critical = extension.next(BOOLEAN).is_some_and(|critical| critical.content == [0xff]);
            let value = extension.next(OCTET_STRING)?.content;
            if kind == EXTENDED_KEY_USAGE {
                return Some((is_critical, Reader::new(value).enter(SEQUENCE)?));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        for (text, expected) in [
            ("19700101000000Z", Some(0)),
            ("20000229235959Z", Some(951_868_799)),
            ("20010101000000.5Z", Some(978_307_200)),
            ("21000301000000Z", Some(4_107_542_400)),
            ("20261121040000Z", Some(1_795_233_600)),
            ("21000229000000Z", None),
            ("20260001000000Z", None),
            ("20261301000000Z", None),
            ("20261121240000Z", None),
            ("20261121040000", None),
            ("20261121040000.Z", None),
            ("20261121040000+0100", None),
            ("19691231235959Z", None),
        ] {
            assert_eq!(unix_time(text.as_bytes()), expected, "{text}");
        }
    }
}
