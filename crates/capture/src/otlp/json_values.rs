//! The values of OTLP's JSON: each as the standard writes it, and as others do.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::mem::size_of;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, SeverityNumber};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, ExponentialHistogramDataPoint, HistogramDataPoint, NumberDataPoint, SummaryDataPoint,
};
use opentelemetry_proto::tonic::trace::v1::{Span, span, status};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::RawEvent;

thread_local! {
    /// What the request that this thread reads may still take in memory. Reading is one synchronous call.
    pub(super) static BYTES_LEFT: Cell<usize> = const { Cell::new(0) };
}

pub(super) const TOO_LARGE: &str = "the request would take too much memory decoded; send fewer spans at once";

/// A JSON object. What serde derives for a struct would take a list as well.
pub(super) struct Object<J>(pub(super) J);

impl<'de, J: Deserialize<'de>> Deserialize<'de> for Object<J> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor<J>(PhantomData<J>);

        impl<'de, J: Deserialize<'de>> Visitor<'de> for ObjectVisitor<J> {
            type Value = Object<J>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<J>, A::Error> {
                J::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }

        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

/// Sizes of what becomes an event, by which it is told from the rest: that one of another type is charged too much is no harm.
const BECOME_EVENTS: [usize; 6] = [
    size_of::<Span>(),
    size_of::<LogRecord>(),
    size_of::<NumberDataPoint>(),
    size_of::<HistogramDataPoint>(),
    size_of::<ExponentialHistogramDataPoint>(),
    size_of::<SummaryDataPoint>(),
];

/// A list, or `null`; every element is charged to the memory that the request may take.
pub(super) fn list<'de, D: Deserializer<'de>, J: Deserialize<'de>, T: From<J>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    struct ListVisitor<J, T>(PhantomData<(J, T)>);

    impl<'de, J: Deserialize<'de>, T: From<J>> Visitor<'de> for ListVisitor<J, T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }

        fn visit_unit<E>(self) -> Result<Vec<T>, E> {
            Ok(Vec::new())
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
            let cost = size_of::<T>() + if BECOME_EVENTS.contains(&size_of::<T>()) { size_of::<RawEvent>() } else { 0 };
            let mut list = Vec::new();
            while let Some(element) = seq.next_element::<Object<J>>()? {
                let left = BYTES_LEFT.get().checked_sub(cost).ok_or_else(|| de::Error::custom(TOO_LARGE))?;
                BYTES_LEFT.set(left);
                list.push(T::from(element.0));
            }
            Ok(list)
        }
    }

    deserializer.deserialize_any(ListVisitor(PhantomData))
}

pub(super) fn object<'de, D: Deserializer<'de>, J: Deserialize<'de>, T: From<J>>(deserializer: D) -> Result<Option<T>, D::Error> {
    Ok(Option::<Object<J>>::deserialize(deserializer)?.map(|object| T::from(object.0)))
}

pub(super) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.unwrap_or_default())
}

pub(super) fn number<'de, D: Deserializer<'de>, N: FromWhole>(deserializer: D) -> Result<N, D::Error> {
    Ok(Option::<Whole<N>>::deserialize(deserializer)?.map(|number| number.0).unwrap_or_default())
}

/// A number type that a JSON number or its text can become.
pub(super) trait FromWhole: Default + std::str::FromStr + TryFrom<i64> + TryFrom<u64> {
    const NAME: &'static str;
}

impl FromWhole for u32 {
    const NAME: &'static str = "a whole number from 0 to 4294967295, as a number or a string";
}
impl FromWhole for u64 {
    const NAME: &'static str = "a whole number from 0 to 18446744073709551615, as a number or a string";
}
impl FromWhole for i32 {
    const NAME: &'static str = "an enum's number";
}
impl FromWhole for i64 {
    const NAME: &'static str = "a 64-bit whole number, as a number or a string";
}

pub(super) struct Whole<N>(pub(super) N);

impl<'de, N: FromWhole> Deserialize<'de> for Whole<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WholeVisitor<N>(PhantomData<N>);

        impl<N: FromWhole> Visitor<'_> for WholeVisitor<N> {
            type Value = Whole<N>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(N::NAME)
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Whole<N>, E> {
                N::try_from(value).map(Whole).map_err(|_| E::invalid_value(de::Unexpected::Signed(value), &self))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Whole<N>, E> {
                N::try_from(value).map(Whole).map_err(|_| E::invalid_value(de::Unexpected::Unsigned(value), &self))
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Whole<N>, E> {
                // 1e3 is a whole number, too; beyond 2^53 a double does not hold every one.
                if value.fract() == 0.0 && value.abs() < 9_007_199_254_740_992.0 {
                    return self.visit_i64(value as i64);
                }
                Err(E::invalid_value(de::Unexpected::Float(value), &self))
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<Whole<N>, E> {
                value.parse().map(Whole).map_err(|_| E::custom(format_args!("expected {}", N::NAME)))
            }
        }

        deserializer.deserialize_any(WholeVisitor(PhantomData))
    }
}

pub(super) struct Double(pub(super) f64);

impl<'de> Deserialize<'de> for Double {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct DoubleVisitor;

        impl Visitor<'_> for DoubleVisitor {
            type Value = Double;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, or \"NaN\", \"Infinity\" or \"-Infinity\"")
            }

            fn visit_f64<E>(self, value: f64) -> Result<Double, E> {
                Ok(Double(value))
            }

            #[allow(clippy::cast_precision_loss)]
            fn visit_i64<E>(self, value: i64) -> Result<Double, E> {
                Ok(Double(value as f64))
            }

            #[allow(clippy::cast_precision_loss)]
            fn visit_u64<E>(self, value: u64) -> Result<Double, E> {
                Ok(Double(value as f64))
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<Double, E> {
                match value {
                    "Infinity" => Ok(Double(f64::INFINITY)),
                    "-Infinity" => Ok(Double(f64::NEG_INFINITY)),
                    _ => value.parse().map(Double).map_err(|_| E::custom("expected a number, \"NaN\" or \"Infinity\"")),
                }
            }
        }

        deserializer.deserialize_any(DoubleVisitor)
    }
}

pub(super) struct Base64(pub(super) Vec<u8>);

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const CONFIG: GeneralPurposeConfig = GeneralPurposeConfig::new()
            .with_decode_padding_mode(DecodePaddingMode::Indifferent)
            .with_decode_allow_trailing_bits(true);
        const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, CONFIG);
        const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, CONFIG);
        let text = String::deserialize(deserializer)?;
        let engine = if text.contains(['-', '_']) { &URL_SAFE } else { &STANDARD };
        engine.decode(text).map(Base64).map_err(|_| de::Error::custom("expected bytes as base64"))
    }
}

/// An id as hexadecimal text. Its length is for the decoder to judge: a wrong id costs the trace, not the span.
pub(super) fn hex<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = Option::<std::borrow::Cow<'_, str>>::deserialize(deserializer)?.unwrap_or_default();
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_bytes().chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return Err(de::Error::custom("expected hexadecimal digits, two for each byte"));
    }
    pairs
        .map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?))
        .collect::<Option<Vec<u8>>>()
        .ok_or_else(|| de::Error::custom("expected hexadecimal digits, two for each byte"))
}

pub(super) fn span_kind<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i32, D::Error> {
    enumeration(deserializer, |name| span::SpanKind::from_str_name(name).map(|kind| kind as i32))
}

pub(super) fn status_code<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i32, D::Error> {
    enumeration(deserializer, |name| status::StatusCode::from_str_name(name).map(|code| code as i32))
}

pub(super) fn severity<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i32, D::Error> {
    enumeration(deserializer, |name| SeverityNumber::from_str_name(name).map(|number| number as i32))
}

pub(super) fn temporality<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i32, D::Error> {
    enumeration(deserializer, |name| AggregationTemporality::from_str_name(name).map(|temporality| temporality as i32))
}

/// An optional number, which may be written as text.
pub(super) fn double<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    Ok(Option::<Double>::deserialize(deserializer)?.map(|number| number.0))
}

/// An enum's number, or its name as protobuf's own JSON mapping writes it.
pub(super) fn enumeration<'de, D: Deserializer<'de>>(
    deserializer: D,
    of_name: impl Fn(&str) -> Option<i32>,
) -> Result<i32, D::Error> {
    struct EnumVisitor<F>(F);

    impl<'de, F: Fn(&str) -> Option<i32>> Visitor<'de> for EnumVisitor<F> {
        type Value = i32;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an enum's number or name")
        }

        fn visit_unit<E>(self) -> Result<i32, E> {
            Ok(0)
        }

        fn visit_i64<E: de::Error>(self, value: i64) -> Result<i32, E> {
            i32::try_from(value).map_err(|_| E::invalid_value(de::Unexpected::Signed(value), &self))
        }

        fn visit_u64<E: de::Error>(self, value: u64) -> Result<i32, E> {
            i32::try_from(value).map_err(|_| E::invalid_value(de::Unexpected::Unsigned(value), &self))
        }

        fn visit_str<E: de::Error>(self, value: &str) -> Result<i32, E> {
            self.0(value).ok_or_else(|| E::custom("expected an enum's number or name"))
        }
    }

    deserializer.deserialize_any(EnumVisitor(of_name))
}
