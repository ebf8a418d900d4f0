//! Where an attribute goes, and whether its value is what its key says.

use std::collections::HashMap;

use event::{Key, Value};
use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value};

use super::dialect::{Action, Type};
use super::table::Slot;
use super::value::{self, Losses};
use crate::Raw;

/// Longest id of a user, session, turn or agent. What is longer is kept as unmapped: it is no id.
const ID_BYTES_MAX: usize = 1024;

/// Longest text of a canonical attribute. What is longer is kept as unmapped: it is no model name, no status, no URL.
const ATTRIBUTE_BYTES_MAX: usize = 64 * 1024;

/// The fields of an event that come from attributes.
pub(super) type Slots = [Option<Filled>; Slot::COUNT];

/// A field of an event, and the key that it came from.
#[derive(Debug, Clone)]
pub(super) struct Filled {
    rank: usize,
    key: String,
    pub(super) text: String,
}

/// Puts an attribute where its entry says, or gives it back: nothing is known of it, its value is not of its type, or
/// its place is taken.
pub(super) fn place(
    action: Option<&Action>,
    key: String,
    any: AnyValue,
    slots: &mut Slots,
    mut set: impl FnMut(Key, Value<Raw>),
) -> Result<(), (String, AnyValue)> {
    let is_long = value::as_str(&any).is_some_and(|text| text.len() > ATTRIBUTE_BYTES_MAX);
    match action {
        Some(Action::Attribute { .. }) if is_long => Err((key, any)),
        Some(Action::Attribute { key: canonical, ty, values }) => match typed(any, *ty, values.as_ref()) {
            Ok(value) => {
                set(canonical.clone(), value);
                Ok(())
            }
            Err(any) => Err((key, any)),
        },
        Some(Action::Slot(slot, rank)) => {
            let text = match scalar_text(&any) {
                Some(text) if !text.is_empty() && text.len() <= ID_BYTES_MAX => text,
                _ => return Err((key, any)),
            };
            match &mut slots[*slot as usize] {
                Some(taken) if taken.text == text => Ok(()),
                Some(taken) if taken.rank <= *rank => Err((key, any)),
                place => match place.replace(Filled { rank: *rank, key, text }) {
                    // A key that says it better: what it displaces is given back.
                    Some(less) => Err((less.key, AnyValue { value: Some(any_value::Value::StringValue(less.text)) })),
                    None => Ok(()),
                },
            }
        }
        _ => Err((key, any)),
    }
}

/// The value as its canonical key has it; `Err` gives it back.
pub(super) fn typed(any: AnyValue, ty: Type, values: Option<&HashMap<String, String>>) -> Result<Value<Raw>, AnyValue> {
    use any_value::Value as Any;
    if let Some(values) = values
        && let Some(translated) = scalar_text(&any).and_then(|text| values.get(&text))
    {
        return Ok(Value::Text(translated.as_str().into()));
    }
    let AnyValue { value: Some(value) } = any else { return Err(any) };
    let result = match (ty, value) {
        (Type::Any, value) => {
            return value::attribute(AnyValue { value: Some(value) }, &mut Losses::default()).ok_or_else(AnyValue::default);
        }
        (Type::Text, Any::StringValue(text)) => Ok(Value::Text(text.into())),
        (Type::Text, value @ (Any::IntValue(_) | Any::BoolValue(_) | Any::DoubleValue(_))) => {
            Ok(Value::Text(value::json(&value).into()))
        }
        (Type::Count, Any::IntValue(number)) if number >= 0 => Ok(Value::Int(number)),
        (Type::Count, Any::DoubleValue(number)) if number >= 0.0 && number.fract() == 0.0 && number < COUNT_EXACT_MAX => {
            Ok(Value::Int(number as i64))
        }
        (Type::Count, Any::StringValue(text)) => match text.parse() {
            Ok(number) if number >= 0_i64 => Ok(Value::Int(number)),
            _ => Err(Any::StringValue(text)),
        },
        (Type::Number, Any::IntValue(number)) => Ok(Value::Int(number)),
        (Type::Number, Any::DoubleValue(number)) if number.is_finite() => Ok(Value::Double(number)),
        (Type::Number, Any::StringValue(text)) => match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Value::Double(number)),
            _ => Err(Any::StringValue(text)),
        },
        (Type::Bool, Any::BoolValue(value)) => Ok(Value::Bool(value)),
        (Type::Bool, Any::StringValue(text)) => match text.as_str() {
            "true" | "True" => Ok(Value::Bool(true)),
            "false" | "False" => Ok(Value::Bool(false)),
            _ => Err(Any::StringValue(text)),
        },
        (Type::Texts, Any::StringValue(text)) => Ok(Value::List(vec![Value::Text(text.into())])),
        (Type::Texts, Any::ArrayValue(list)) => {
            if list.values.iter().all(|any| value::as_str(any).is_some()) {
                Ok(Value::List(list.values.into_iter().map(|any| Value::Text(value::text(any).into())).collect()))
            } else {
                Err(Any::ArrayValue(list))
            }
        }
        (_, value) => Err(value),
    };
    result.map_err(|value| AnyValue { value: Some(value) })
}

/// From here on a double does not hold every whole number.
const COUNT_EXACT_MAX: f64 = 9_007_199_254_740_992.0;

fn scalar_text(any: &AnyValue) -> Option<String> {
    match any.value.as_ref()? {
        any_value::Value::StringValue(text) => Some(text.clone()),
        value @ (any_value::Value::IntValue(_) | any_value::Value::BoolValue(_) | any_value::Value::DoubleValue(_)) => {
            Some(value::json(value))
        }
        _ => None,
    }
}
