//! Whether observations show what a pattern describes.
//!
//! A pattern matches when each of its observation expressions can be bound to an observation of its own, so that what it says of
//! their order and times holds (STIX 2.1, section 9.3). Comparisons that are joined within square brackets speak of one object.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value as Json;
use unicode_normalization::UnicodeNormalization as _;

use super::{Compared, Literal, Observed, Operator, Path, Pattern, Step, Test, micros};

/// Most bindings that are looked at: what a person writes needs some hundreds, and a thousand observations in threes a million.
const BINDINGS_MAX: usize = 1_000_000;

/// Something that was seen, in the sense of `observed-data`: objects, when, and how often.
#[derive(Debug, Clone)]
pub struct Observation {
    objects: Vec<(String, Json)>,
    first: i64,
    last: i64,
    number: usize,
}

/// Why a JSON value is no observation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ObservationError {
    /// A property is missing or is something else.
    #[error("observed-data: {0} is missing or wrong")]
    Property(&'static str),
}

/// Why a pattern cannot be judged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    /// There are too many ways in which it could match.
    #[error("more than {BINDINGS_MAX} ways to match; give fewer observations")]
    TooMany,
}

/// Which instance of which observation stands for each observation expression.
type Binding = Vec<(usize, usize)>;

impl Observation {
    /// Objects that were seen together, once, at a time in microseconds since 1970.
    #[must_use]
    pub fn at(time: i64, objects: Vec<Json>) -> Self {
        let objects = objects.into_iter().enumerate().map(|(index, object)| (index.to_string(), object)).collect();
        Self { objects, first: time, last: time, number: 1 }
    }

    /// The `observed-data` objects of a bundle of STIX 2.1, with the objects that they refer to.
    ///
    /// # Errors
    /// [`ObservationError`], which names the property.
    pub fn of_bundle(bundle: &Json) -> Result<Vec<Self>, ObservationError> {
        let all = bundle.get("objects").and_then(Json::as_array).ok_or(ObservationError::Property("objects"))?;
        let of_type = |object: &&Json| object.get("type").and_then(Json::as_str) == Some("observed-data");
        let by_id: std::collections::HashMap<&str, &Json> =
            all.iter().filter_map(|object| Some((object.get("id")?.as_str()?, object))).collect();
        let read = |data: &Json| {
            let time = |name: &'static str| {
                data.get(name).and_then(Json::as_str).and_then(micros).ok_or(ObservationError::Property(name))
            };
            let number = data.get("number_observed").and_then(Json::as_u64).filter(|number| *number > 0);
            let refs = data.get("object_refs").and_then(Json::as_array).ok_or(ObservationError::Property("object_refs"))?;
            let objects = refs.iter().filter_map(Json::as_str);
            Ok(Self {
                objects: objects.filter_map(|id| Some((id.to_owned(), (*by_id.get(id)?).clone()))).collect(),
                first: time("first_observed")?,
                last: time("last_observed")?,
                number: usize::try_from(number.ok_or(ObservationError::Property("number_observed"))?).unwrap_or(usize::MAX),
            })
        };
        all.iter().filter(of_type).map(read).collect()
    }
}

impl Pattern {
    /// Whether the observations show what the pattern describes.
    ///
    /// # Errors
    /// [`EvalError`] where that would take too long to tell.
    pub fn matches(&self, observations: &[Observation]) -> Result<bool, EvalError> {
        let evaluation = Evaluation { observations, instances_max: size(&self.root) };
        Ok(!evaluation.bindings(&self.root)?.is_empty())
    }
}

/// How many observations it binds at the most.
fn size(observed: &Observed) -> usize {
    match observed {
        Observed::One(_) => 1,
        Observed::And(left, right) | Observed::Or(left, right) | Observed::FollowedBy(left, right) => {
            size(left).saturating_add(size(right))
        }
        Observed::Between(of, ..) | Observed::Within(of, _) => size(of),
        Observed::Repeats(of, times) => size(of).saturating_mul(*times),
    }
}

struct Evaluation<'a> {
    observations: &'a [Observation],
    /// More instances of one observation than the pattern binds make no difference.
    instances_max: usize,
}

impl Evaluation<'_> {
    fn bindings(&self, observed: &Observed) -> Result<Vec<Binding>, EvalError> {
        match observed {
            Observed::One(compared) => {
                let mut found = Vec::new();
                for (index, observation) in self.observations.iter().enumerate() {
                    if !roots(compared, observation).is_empty() {
                        let instances = observation.number.min(self.instances_max);
                        bounded(found.len() + instances)?;
                        found.extend((0..instances).map(|instance| vec![(index, instance)]));
                    }
                }
                Ok(found)
            }
            Observed::And(left, right) => self.join(left, right, &|_, _| true),
            Observed::FollowedBy(left, right) => self.join(left, right, &|left, right| {
                let begun = left.iter().map(|(index, _)| self.observations[*index].first).max();
                let ended = right.iter().map(|(index, _)| self.observations[*index].last).min();
                begun <= ended
            }),
            Observed::Or(left, right) => {
                let mut found = self.bindings(left)?;
                found.extend(self.bindings(right)?);
                bounded(found.len())?;
                Ok(found)
            }
            Observed::Between(of, start, stop) => self.filter(of, &|binding| {
                start < stop
                    && binding.iter().all(|(index, _)| {
                        let Observation { first, last, .. } = self.observations[*index];
                        first < *stop && last >= *start
                    })
            }),
            Observed::Within(of, micros) => self.filter(of, &|binding| {
                let intervals = || binding.iter().map(|(index, _)| &self.observations[*index]);
                let Some(from) = intervals().map(|one| one.last).min() else { return true };
                // Each can have happened between the earliest end and the window's.
                intervals().all(|one| one.first <= from.saturating_add(*micros))
            }),
            Observed::Repeats(of, times) => {
                let found = self.bindings(of)?;
                let mut out = Vec::new();
                let mut steps = 0;
                combine(&found, *times, 0, &mut Vec::new(), &mut out, &mut steps)?;
                Ok(out)
            }
        }
    }

    fn filter(&self, of: &Observed, holds: &dyn Fn(&Binding) -> bool) -> Result<Vec<Binding>, EvalError> {
        let mut found = self.bindings(of)?;
        found.retain(holds);
        Ok(found)
    }

    fn join(
        &self,
        left: &Observed,
        right: &Observed,
        holds: &dyn Fn(&Binding, &Binding) -> bool,
    ) -> Result<Vec<Binding>, EvalError> {
        let (left, right) = (self.bindings(left)?, self.bindings(right)?);
        bounded(left.len().saturating_mul(right.len()))?;
        let pairs = left.iter().flat_map(|left| right.iter().map(move |right| (left, right)));
        let joined = pairs.filter(|(left, right)| are_apart(left, right) && holds(left, right));
        Ok(joined.map(|(left, right)| [left.as_slice(), right].concat()).collect())
    }
}

fn bounded(count: usize) -> Result<(), EvalError> {
    if count > BINDINGS_MAX { Err(EvalError::TooMany) } else { Ok(()) }
}

fn are_apart(left: &[(usize, usize)], right: &[(usize, usize)]) -> bool {
    left.iter().all(|one| !right.contains(one))
}

/// Every way to take `times` bindings that share nothing.
fn combine(
    found: &[Binding],
    times: usize,
    from: usize,
    taken: &mut Vec<(usize, usize)>,
    out: &mut Vec<Binding>,
    steps: &mut usize,
) -> Result<(), EvalError> {
    if times == 0 {
        out.push(taken.clone());
        return Ok(());
    }
    for (index, binding) in found.iter().enumerate().skip(from) {
        *steps += 1;
        bounded(*steps)?;
        if found.len() - index < times {
            return Ok(());
        }
        if are_apart(binding, taken) {
            let before = taken.len();
            taken.extend(binding);
            combine(found, times - 1, index + 1, taken, out, steps)?;
            taken.truncate(before);
        }
    }
    Ok(())
}

/// The objects of an observation for which a comparison holds.
fn roots(compared: &Compared, observation: &Observation) -> BTreeSet<usize> {
    match compared {
        Compared::And(left, right) => {
            let left = roots(left, observation);
            if left.is_empty() { left } else { left.intersection(&roots(right, observation)).copied().collect() }
        }
        Compared::Or(left, right) => {
            let mut found = roots(left, observation);
            found.extend(roots(right, observation));
            found
        }
        Compared::Test(test) => {
            let of_type = |object: &Json| object.get("type").and_then(Json::as_str) == Some(&test.path.object);
            let objects = observation.objects.iter().enumerate().filter(|(_, (_, object))| of_type(object));
            objects.filter(|(_, (_, object))| holds(test, object, observation)).map(|(index, _)| index).collect()
        }
    }
}

fn holds(test: &Test, object: &Json, observation: &Observation) -> bool {
    let found = select(&test.path, object, observation);
    if matches!(test.operator, Operator::Exists) {
        return found.is_empty() == test.is_negated;
    }
    found.iter().any(|value| compares(&test.operator, value) != test.is_negated)
}

/// What a path leads to. A property whose name ends in `_ref` or `_refs` leads to the objects that it names.
fn select<'a>(path: &Path, object: &'a Json, observation: &'a Observation) -> Vec<Found<'a>> {
    let mut found = vec![Found::Json(object)];
    for step in &path.steps {
        found = match step {
            Step::Key(key) => found
                .into_iter()
                .filter_map(|one| one.json().and_then(|json| json.get(key)))
                .flat_map(|value| followed(key, value, observation))
                .collect(),
            Step::Index(index) => {
                let at = |one: Found<'a>| one.elements().and_then(|all| index.and_then(|index| all.into_iter().nth(index)));
                found.into_iter().filter_map(at).collect()
            }
            Step::Any => found.into_iter().filter_map(|one| one.elements()).flatten().collect(),
        };
    }
    found
}

/// What a step found.
enum Found<'a> {
    Json(&'a Json),
    /// A property whose name says that its text stands for bytes.
    Bytes(Vec<u8>),
    /// The objects that a list names.
    Objects(Vec<&'a Json>),
}

impl<'a> Found<'a> {
    fn json(&self) -> Option<&'a Json> {
        if let Self::Json(json) = self { Some(json) } else { None }
    }

    fn elements(self) -> Option<Vec<Found<'a>>> {
        match self {
            Self::Json(Json::Array(all)) => Some(all.iter().map(Found::Json).collect()),
            Self::Objects(all) => Some(all.into_iter().map(Found::Json).collect()),
            _ => None,
        }
    }
}

fn followed<'a>(key: &str, value: &'a Json, observation: &'a Observation) -> Option<Found<'a>> {
    let named = |id: &Json| {
        let id = id.as_str()?;
        observation.objects.iter().find(|(known, _)| known == id).map(|(_, object)| object)
    };
    if key.ends_with("_ref") {
        return named(value).map(Found::Json);
    }
    if key.ends_with("_refs") {
        let all: Vec<&Json> = value.as_array()?.iter().filter_map(named).collect();
        return (!all.is_empty()).then_some(Found::Objects(all));
    }
    if key.ends_with("_hex") {
        return value.as_str().and_then(event::hex::decode).map(Found::Bytes);
    }
    if key.ends_with("_bin") {
        let decode = |text| base64::Engine::decode(&base64::engine::general_purpose::STANDARD, text).ok();
        return value.as_str().and_then(decode).map(Found::Bytes);
    }
    Some(Found::Json(value))
}

fn compares(operator: &Operator, found: &Found<'_>) -> bool {
    let ordered = |literal: &Literal, accepts: fn(std::cmp::Ordering) -> bool| order(literal, found).is_some_and(accepts);
    let text = || found.json().and_then(Json::as_str);
    match operator {
        Operator::Equal(literal) => equals(literal, found),
        Operator::Unequal(literal) => !equals(literal, found),
        Operator::Greater(literal) => ordered(literal, std::cmp::Ordering::is_gt),
        Operator::Less(literal) => ordered(literal, std::cmp::Ordering::is_lt),
        Operator::GreaterOrEqual(literal) => ordered(literal, std::cmp::Ordering::is_ge),
        Operator::LessOrEqual(literal) => ordered(literal, std::cmp::Ordering::is_le),
        Operator::In(set) => set.iter().any(|literal| equals(literal, found)),
        Operator::Like(like) => text().is_some_and(|text| is_like(like, &text.nfc().collect::<String>())),
        Operator::Matches(regex) => text().is_some_and(|text| regex.is_match(&text.nfc().collect::<String>())),
        Operator::IsSubset(net) => text().is_some_and(|text| is_within(text, net)),
        Operator::IsSuperset(net) => text().is_some_and(|text| is_within(net, text)),
        Operator::Exists => true,
    }
}

fn equals(literal: &Literal, found: &Found<'_>) -> bool {
    match (literal, found) {
        (Literal::Bool(literal), Found::Json(Json::Bool(value))) => literal == value,
        _ => order(literal, found).is_some_and(std::cmp::Ordering::is_eq),
    }
}

/// How what was found stands to a literal, where both can be compared.
fn order(literal: &Literal, found: &Found<'_>) -> Option<std::cmp::Ordering> {
    // Bytes and a text are compared where every character of the text is a byte.
    let as_bytes = |text: &str| text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect::<Option<Vec<u8>>>();
    match (literal, found) {
        (Literal::Bytes(literal), Found::Bytes(bytes)) => Some(bytes.cmp(literal)),
        (Literal::Bytes(literal), Found::Json(Json::String(text))) => Some(as_bytes(text)?.cmp(literal)),
        (Literal::Text(literal), Found::Bytes(bytes)) => Some(bytes.cmp(&as_bytes(literal)?)),
        (Literal::Text(literal), Found::Json(Json::String(text))) => Some(text.as_str().cmp(literal)),
        (Literal::Time(literal), Found::Json(Json::String(text))) => Some(micros(text)?.cmp(literal)),
        (Literal::Int(literal), Found::Json(Json::Number(number))) if number.is_i64() => Some(number.as_i64()?.cmp(literal)),
        (Literal::Int(literal), Found::Json(Json::Number(number))) => number.as_f64()?.partial_cmp(&as_f64(*literal)),
        (Literal::Float(literal), Found::Json(Json::Number(number))) => number.as_f64()?.partial_cmp(literal),
        _ => None,
    }
}

#[expect(clippy::cast_precision_loss, reason = "as JSON compares numbers")]
fn as_f64(number: i64) -> f64 {
    number as f64
}

/// `%` stands for any text and `_` for one character. Linear but for repeated beginnings behind a `%`.
fn is_like(like: &str, text: &str) -> bool {
    let (like, text): (Vec<char>, Vec<char>) = (like.chars().collect(), text.chars().collect());
    let (mut at, mut read) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while read < text.len() {
        match like.get(at) {
            Some('%') => {
                at += 1;
                back = Some((at, read));
            }
            Some(c) if *c == '_' || *c == text[read] => (at, read) = (at + 1, read + 1),
            _ => match back {
                Some((after, from)) => {
                    (at, read) = (after, from + 1);
                    back = Some((after, from + 1));
                }
                None => return false,
            },
        }
    }
    like[at..].iter().all(|c| *c == '%')
}

/// Whether an address or a network lies within a network.
fn is_within(inner: &str, outer: &str) -> bool {
    let net = |text: &str| text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    let (Some(inner), true) = (net(inner), outer.contains('/')) else { return false };
    net(outer).is_some_and(|outer| outer.contains(&inner.trunc()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(second: i64, objects: Vec<Json>) -> Observation {
        Observation::at(second * 1_000_000, objects)
    }

    fn url(value: &str) -> Json {
        json!({"type": "url", "value": value})
    }

    fn check(pattern: &str, observations: &[Observation], expected: bool) {
        let parsed = Pattern::parse(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
        assert_eq!(parsed.matches(observations), Ok(expected), "{pattern}");
    }

    #[test]
    fn comparisons_speak_of_one_object() {
        let file = json!({"type": "file", "name": "a.exe", "size": 7, "hashes": {"SHA-256": "ab", "MD5": "cd"}, "is_x": true,
            "contains_refs": ["0"], "magic_hex": "ffd8"});
        let one = [at(0, vec![url("https://a.example/"), file, url("https://b.example/x")])];
        for (pattern, expected) in [
            ("[url:value = 'https://a.example/']", true),
            ("[url:value == 'https://a.example']", false),
            ("[url:value = 'https://a.example/' AND url:value = 'https://b.example/x']", false),
            ("[url:value = 'https://a.example/'] AND [url:value = 'https://b.example/x']", false),
            ("[url:value IN ('x', 'https://a.example/')]", true),
            ("[file:hashes.'SHA-256' = 'ab' AND file:hashes.MD5 = 'cd']", true),
            ("[file:size > 6 AND file:size <= 7.0]", true),
            ("[file:size = '7']", false),
            ("[file:size != '7']", true),
            ("[file:is_x = true]", true),
            ("[file:contains_refs[*].value LIKE 'https://%.example/']", true),
            ("[file:contains_refs[1].value LIKE '%']", false),
            ("[file:magic_hex = h'ffd8' AND file:magic_hex = b'/9g=']", true),
            ("[url:value MATCHES '^https://b[.]']", true),
            ("[NOT EXISTS file:mime_type]", true),
            ("[EXISTS file:mime_type OR (file:name NOT = 'a.exe')]", false),
            ("[url:value NOT IN ('https://a.example/', 'https://b.example/x')]", false),
        ] {
            check(pattern, &one, expected);
        }
    }

    #[test]
    fn networks_hold_addresses() {
        let v6 = json!({"type": "ipv6-addr", "value": "2001:db8::5"});
        let all = [at(0, vec![json!({"type": "ipv4-addr", "value": "10.1.2.3"}), v6])];
        for (pattern, expected) in [
            ("[ipv4-addr:value ISSUBSET '10.0.0.0/8']", true),
            ("[ipv4-addr:value ISSUBSET '11.0.0.0/8']", false),
            ("[ipv4-addr:value ISSUPERSET '10.1.2.3']", false),
            ("[ipv6-addr:value ISSUBSET '2001:db8::/32']", true),
            ("[ipv6-addr:value ISSUBSET '10.0.0.0/8']", false),
        ] {
            check(pattern, &all, expected);
        }
    }

    #[test]
    fn observations_are_bound_once_and_in_time() {
        let seen = [at(0, vec![url("a")]), at(10, vec![url("b")]), at(20, vec![url("a")])];
        for (pattern, expected) in [
            ("[url:value = 'a'] FOLLOWEDBY [url:value = 'b']", true),
            ("[url:value = 'b'] FOLLOWEDBY [url:value = 'b']", false),
            ("[url:value = 'b'] AND [url:value = 'a'] AND [url:value = 'a']", true),
            ("[url:value = 'a'] REPEATS 2 TIMES", true),
            ("[url:value = 'a'] REPEATS 3 TIMES", false),
            ("([url:value = 'a'] REPEATS 2 TIMES) WITHIN 19 SECONDS", false),
            ("([url:value = 'a'] REPEATS 2 TIMES) WITHIN 20 SECONDS", true),
            ("[url:value = 'b'] START t'1970-01-01T00:00:10Z' STOP t'1970-01-01T00:00:11Z'", true),
            ("[url:value = 'b'] START t'1970-01-01T00:00:11Z' STOP t'1970-01-01T00:00:12Z'", false),
            ("[url:value = 'x'] OR [url:value = 'b'] FOLLOWEDBY [url:value = 'a']", true),
        ] {
            check(pattern, &seen, expected);
        }
    }

    #[test]
    fn what_would_take_too_long_is_refused() {
        let many: Vec<Observation> = (0..2_000).map(|second| at(second, vec![url("a")])).collect();
        let pattern = Pattern::parse("[url:value = 'a'] AND [url:value = 'a']").unwrap();
        assert_eq!(pattern.matches(&many), Err(EvalError::TooMany));
        let pattern = Pattern::parse("[url:value = 'a'] REPEATS 50 TIMES").unwrap();
        assert_eq!(pattern.matches(&many), Err(EvalError::TooMany));
    }

    #[test]
    fn what_is_no_pattern_is_told_where() {
        for (text, at) in [
            ("", 0),
            ("url:value = 'a'", 0),
            ("[url:value = 'a'", 16),
            ("[url:value = 'a]", 13),
            ("[url:value == ]", 14),
            ("[url = 'a']", 1),
            ("[url:value MATCHES '(?=a)']", 19),
            ("[url:value = 'a'] REPEATS 0 TIMES", 28),
            ("[url:value IN ('a', 1)]", 22),
            ("[url:value = 007]", 13),
            ("[url:value > true]", 17),
            ("[url:value = 'a'] x", 18),
            ("[url:value = t'yesterday']", 13),
        ] {
            let error = Pattern::parse(text).err().unwrap_or_else(|| panic!("{text} is taken"));
            assert_eq!(error.at, at, "{text}: {error}");
        }
        let deep = format!("{}[a:b = 1]{}", "(".repeat(100_000), ")".repeat(100_000));
        assert!(Pattern::parse(&deep).is_err());
        let deep = format!("{}[a:b = 1]{}", "(".repeat(500), ")".repeat(500));
        assert!(Pattern::parse(&deep).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_text_breaks_the_parser(text in r"(\[|\]|\(|\)|url:value|file:a\.'b'|=|!=|IN|AND|OR|FOLLOWEDBY|'a'|h'0'|t'x'|WITHIN|SECONDS|NOT|EXISTS|1|-2\.5|,|\*|\PC| ){0,30}") {
            if let Ok(pattern) = Pattern::parse(&text) {
                drop(pattern.matches(&[at(0, vec![url("a")])]));
            }
        }
    }
}
