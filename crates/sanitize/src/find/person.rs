//! Names of persons, where something says that one stands there.

/// How much a name must look like one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Care {
    /// One word or more, of letters.
    Any,
    /// One word or more, with capitals.
    Capitals,
    /// Two words or more, with capitals.
    Two,
    /// Two words or more, with capitals, one of them a given name that is widespread.
    Known,
}

const WORDS_MAX: usize = 5;
const WORD_BYTES_MAX: usize = 40;

/// Small words inside names.
const PARTICLES: &[&str] = &[
    "de", "la", "las", "los", "van", "der", "den", "von", "zu", "di", "da", "do", "dos", "das", "del", "della", "bin", "binti",
    "ibn", "al", "el", "y", "e", "le", "du", "ter", "ten", "af", "av",
];

/// Capitals, and no names: what stands behind a title or a label as well.
#[rustfmt::skip]
const NO_NAMES: &[&str] = &[
    "the", "this", "that", "these", "those", "unknown", "none", "null", "test", "user", "users", "admin", "name", "string", "your", "my", "first", "last", "full", "patient", "patients", "customer", "field",
    "required", "optional", "not", "value", "enter", "please", "is", "and", "or", "has", "have", "was", "will", "date", "address", "phone", "email", "e-mail", "mail", "age", "gender", "sex", "ssn", "id", "tel", "telephone", "mobile",
    "fax", "street", "city", "country", "company", "dob", "president", "chairman", "chair", "speaker", "minister", "secretary", "ambassador", "judge", "it", "he", "she", "they", "we", "you", "i", "if", "for", "in", "on", "at",
    "to", "of", "by", "from", "with", "as", "all", "any", "some", "each", "no", "yes", "true", "false", "example", "sample", "number", "title", "type", "card", "account", "passport", "iban", "contact", "number:", "birth",
    "born", "insurance", "policy", "member", "record", "order", "invoice", "sir", "madam", "team", "support", "service", "everyone", "all,", "hiring", "manager", "colleague", "colleagues", "friend", "friends", "students",
    "undefined", "n/a", "anonymous", "system", "assistant", "bot", "agent", "model", "default", "new", "information", "details", "data", "nhs", "mrn", "nr", "und", "et", "herr", "frau", "monsieur", "madame", "mr", "mrs", "ms",
    "dr", "prof", "zip", "post", "postcode", "state", "region", "nationality", "occupation", "department", "position", "role", "status", "diagnosis", "server", "client", "safety", "care", "portal", "here", "there", "note",
];

/// Given names that are widespread, in lower case: for places where a name may be that of anything.
#[rustfmt::skip]
const GIVEN: &[&str] = &[
    "james", "john", "robert", "michael", "william", "david", "richard", "joseph", "thomas", "charles", "christopher", "daniel", "matthew", "anthony", "mark", "donald", "steven", "paul", "andrew", "joshua",
    "kenneth", "kevin", "brian", "george", "edward", "ronald", "timothy", "jason", "jeffrey", "ryan", "jacob", "gary", "nicholas", "eric", "jonathan", "stephen", "larry", "justin", "scott", "brandon", "benjamin",
    "samuel", "gregory", "frank", "alexander", "raymond", "patrick", "jack", "dennis", "jerry", "tyler", "aaron", "jose", "adam", "henry", "nathan", "douglas", "zachary", "peter", "kyle", "walter", "ethan", "jeremy",
    "harold", "keith", "christian", "roger", "noah", "gerald", "carl", "terry", "sean", "austin", "arthur", "lawrence", "jesse", "dylan", "bryan", "joe", "jordan", "billy", "bruce", "albert", "willie", "gabriel", "logan",
    "mary", "patricia", "jennifer", "linda", "elizabeth", "barbara", "susan", "jessica", "sarah", "karen", "lisa", "nancy", "betty", "margaret", "sandra", "ashley", "kimberly", "emily", "donna", "michelle", "carol",
    "amanda", "dorothy", "melissa", "deborah", "stephanie", "rebecca", "sharon", "laura", "cynthia", "kathleen", "amy", "angela", "shirley", "anna", "brenda", "pamela", "emma", "nicole", "helen", "samantha",
    "katherine", "christine", "debra", "rachel", "carolyn", "janet", "catherine", "maria", "heather", "diane", "ruth", "julie", "olivia", "joyce", "virginia", "victoria", "kelly", "lauren", "christina", "joan",
    "evelyn", "judith", "megan", "andrea", "cheryl", "hannah", "jacqueline", "martha", "gloria", "teresa", "ann", "anne", "sara", "madison", "frances", "kathryn", "janice", "jean", "abigail", "alice", "julia",
    "sophia", "grace", "denise", "amber", "doris", "marilyn", "danielle", "beverly", "isabella", "theresa", "diana", "natalie", "brittany", "charlotte", "marie", "kayla", "alexis", "lori", "jane", "oliver", "harry",
    "liam", "oscar", "leo", "alfie", "charlie", "sophie", "chloe", "lucy", "zoe", "ella", "bob", "tom", "tim", "jim", "mike", "dave", "steve", "chris", "alex", "sam", "ben", "max", "kate", "eve", "carlos", "juan", "luis",
    "pedro", "miguel", "javier", "antonio", "manuel", "francisco", "pablo", "diego", "alejandro", "fernando", "jorge", "sergio", "rafael", "lucia", "lucía", "carmen", "isabel", "pilar", "rosa", "elena", "marta",
    "paula", "sofia", "sofía", "maría", "josé", "ana", "joão", "joao", "tiago", "rui", "inês", "beatriz", "bruno", "mateus", "gustavo", "pierre", "michel", "françois", "francois", "jacques", "philippe", "luc", "claire", "camille",
    "léa", "manon", "chloé", "amélie", "nathalie", "isabelle", "sylvie", "hans", "klaus", "jürgen", "juergen", "wolfgang", "stefan", "andreas", "markus", "matthias", "sebastian", "lukas", "felix", "jonas", "anja",
    "sabine", "petra", "monika", "ursula", "heike", "katrin", "greta", "lena", "mia", "marco", "giuseppe", "giovanni", "luca", "matteo", "francesco", "alessandro", "giulia", "chiara", "francesca", "martina", "sofie",
    "jan", "piotr", "krzysztof", "andrzej", "tomasz", "pawel", "paweł", "anna", "katarzyna", "agnieszka", "erik", "lars", "sven", "nils", "johan", "anders", "karin", "ingrid", "astrid", "mikko", "matti", "pieter", "willem",
    "sanne", "daan", "ivan", "sergei", "dmitri", "olga", "natasha", "svetlana", "wei", "li", "ming", "hiroshi", "yuki", "takashi", "kenji", "sakura", "min-jun", "ji-woo", "mohammed", "muhammad", "mohamed", "ahmed", "ali",
    "omar", "hassan", "fatima", "aisha", "yusuf", "mehmet", "mustafa", "ayşe", "emre", "raj", "rahul", "amit", "priya", "anjali", "sanjay", "vijay", "arjun", "ravi", "sunita", "deepak", "chinedu", "kwame", "amara", "thabo",
];

/// The title before a name: where the name ends that begins at `from`.
pub(super) fn titled(text: &str, from: usize) -> Option<usize> {
    name(text, from, text.len(), Care::Capitals)
}

/// A name that stands for itself behind `Dear` or under a letter: where it ends.
pub(super) fn known(text: &str, from: usize) -> Option<usize> {
    let end = name(text, from, text.len(), Care::Capitals)?;
    text.get(from..end)?.split(' ').any(is_given).then_some(end)
}

/// Where the name ends that begins at `from`, and lies before `to`.
pub(super) fn name(text: &str, from: usize, to: usize, care: Care) -> Option<usize> {
    let all = text.get(from..to)?;
    // scripts without capitals or spaces
    if let Some(end) = compact(all) {
        return (care != Care::Known).then_some(from + end);
    }
    let (mut at, mut end, mut words, mut known, mut capitals) = (0, 0, 0, false, true);
    while words < WORDS_MAX {
        let rest = all.get(at..)?;
        let len = word_len(rest);
        let word = rest.get(..len)?;
        if len == 0 || len > WORD_BYTES_MAX {
            break;
        }
        let bare = word.trim_end_matches(['.', '\'', '’', '-']);
        let lower = bare.to_lowercase();
        let is_particle = words > 0 && PARTICLES.contains(&word);
        let is_capital = bare.chars().next().is_some_and(char::is_uppercase);
        let no_name = NO_NAMES.contains(&lower.as_str()) || (!is_capital && !is_particle && care != Care::Any);
        // `Ann Smith Phone: ...`: the last word names what comes next
        let names_next = rest.get(len..)?.trim_start_matches(' ').starts_with([':', '=']);
        if no_name || (names_next && words > 0) {
            break;
        }
        capitals &= is_capital || is_particle;
        known |= is_given(&lower);
        at += len;
        if !is_particle {
            // an initial keeps its dot, the end of a sentence does not
            let dot = word.ends_with('.') && bare.chars().count() > 1;
            end = at - usize::from(dot) - if word.ends_with(['\'', '’', '-']) { word.len() - bare.len() } else { 0 };
            words += 1;
            if dot {
                break;
            }
        }
        if !all.get(at..)?.starts_with(' ') || all.get(at..)?.starts_with("  ") {
            break;
        }
        at += 1;
    }
    let after = text.get(from + end..)?.chars().next();
    let enough = match care {
        Care::Any => words >= 1 && from + end == to,
        Care::Capitals => words >= 1,
        Care::Two => words >= 2,
        Care::Known => words >= 2 && known && from + end == to,
    };
    let alone = !after.is_some_and(|c| c.is_alphanumeric() || matches!(c, '@' | '_' | '/' | '(' | '{' | '[' | '='));
    (enough && alone && (capitals || care == Care::Any)).then_some(from + end)
}

/// Names of two to four characters of Chinese, Japanese or Korean.
fn compact(text: &str) -> Option<usize> {
    let is_script = |c: char| matches!(u32::from(c), 0x4E00..=0x9FFF | 0xAC00..=0xD7AF | 0x3041..=0x30FF);
    let chars: Vec<(usize, char)> = text.char_indices().take(6).take_while(|(_, c)| is_script(*c)).collect();
    let (last, c) = chars.last()?;
    (2..=5).contains(&chars.len()).then_some(last + c.len_utf8())
}

/// Letters, with apostrophes, hyphens and dots among them.
fn word_len(text: &str) -> usize {
    let mut end = 0;
    for (i, c) in text.char_indices().take(WORD_BYTES_MAX + 1) {
        if c.is_alphabetic() {
            end = i + c.len_utf8();
        } else if !(matches!(c, '\'' | '’' | '-' | '.') && end == i && i > 0) {
            break;
        } else {
            end = i + c.len_utf8();
            if c == '.' {
                break;
            }
        }
    }
    end
}

fn is_given(word: &str) -> bool {
    GIVEN.contains(&word.to_lowercase().as_str())
}

/// A name as it is compared.
pub(super) fn normal(name: &str) -> String {
    name.to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_end_where_they_end() {
        for (text, end) in [
            ("Ann Smith, who", "Ann Smith"),
            ("Ann-Marie O'Neill.", "Ann-Marie O'Neill"),
            ("John F. Kennedy is", "John F. Kennedy"),
            ("Ludwig van der Berg\n", "Ludwig van der Berg"),
            ("Ann Smith Phone: 12", "Ann Smith"),
            ("Ann Smith Date of Birth: 12", "Ann Smith"),
            ("José García López", "José García López"),
            ("王小明，男", "王小明"),
        ] {
            assert_eq!(name(text, 0, text.len(), Care::Two).map(|end| &text[..end]), Some(end), "{text}");
        }
        for text in ["the user", "Smith", "get_weather", "ann smith", "Ann Smith@x", "12 Ann"] {
            assert_eq!(name(text, 0, text.len(), Care::Two), None, "{text}");
        }
        assert!(name("Apple Pie", 0, 9, Care::Known).is_none());
        assert!(name("Ann Pie", 0, 7, Care::Known).is_some());
    }
}
