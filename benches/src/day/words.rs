//! Texts for a made-up day: prose, code, log lines and JSON whose words are as unevenly frequent as those of a language.

/// Words of the vocabulary; a person's active one is about this large.
const WORDS: usize = 20_000;

/// Places of the table that words are drawn from. The rarest word still has one.
const DRAWS: usize = 1 << 18;

/// The most frequent words of English, in order. The others are made of syllables.
const COMMON: &str = "the of and to in a is that for it as was with be by on not he his but at are this have from or had an they \
    which one you were all her she there would their we him been has when who will no more if out so up said what its about than \
    into them can only other time new some could these two may first then do any like my now over such our man me even most made \
    after also did many off before must well back through years where much your way down should because long each just state \
    those people too mr how little good world make very year still see own work men day get here old life both between being under \
    three never know same last another while us off might great go come since against right came take used himself few house use \
    place during high without again home around small however found part school every number order please customer account item \
    price status report table file line error value list send check find update change payment delivery address name date total \
    stock branch server request answer question team meeting week invoice refund ticket message data test build service version";

const FIRST_NAMES: [&str; 32] = [
    "Mara", "Tobias", "Aiko", "Femi", "Ingrid", "Rashid", "Lucia", "Pavel", "Noor", "Henrik", "Salma", "Diego", "Yuki", "Amara",
    "Otto", "Priya", "Jonas", "Leila", "Marek", "Chiara", "Kwame", "Elif", "Bruno", "Sanna", "Omar", "Greta", "Ivo", "Mei",
    "Anders", "Zofia", "Tariq", "Nadia",
];

const LAST_NAMES: [&str; 32] = [
    "Okafor",
    "Lindqvist",
    "Tanaka",
    "Moreau",
    "Haddad",
    "Kowalski",
    "Bauer",
    "Silva",
    "Nakamura",
    "Adeyemi",
    "Novak",
    "Rossi",
    "Fischer",
    "Ozturk",
    "Mensah",
    "Larsen",
    "Petrov",
    "Garcia",
    "Weber",
    "Khan",
    "Dubois",
    "Sato",
    "Jensen",
    "Popescu",
    "Marino",
    "Virtanen",
    "Costa",
    "Meyer",
    "Ali",
    "Horvat",
    "Berg",
    "Ito",
];

/// Numbers that look random and are the same in every run (SplitMix64).
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `end`, which is not zero.
    pub(super) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end.max(1) as u64).unwrap_or(0)
    }

    /// True once in `n` times.
    pub(super) fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// A length whose logarithm is spread evenly: most are short, some are long.
    pub(super) fn length(&mut self, shortest: usize, doublings: usize) -> usize {
        let base = shortest << self.below(doublings.max(1));
        base + self.below(base)
    }

    /// One of a few things, the first ones more often: by Zipf's law, coarsely.
    pub(super) fn skewed(&mut self, count: usize) -> usize {
        let end = self.below(count) + 1;
        self.below(end)
    }

    pub(super) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    /// Letters and digits, as providers make ids.
    pub(super) fn id(&mut self, prefix: &str, characters: usize) -> String {
        const ALPHABET: &[u8; 62] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
        let mut id = prefix.to_owned();
        id.extend((0..characters).map(|_| char::from(ALPHABET[self.below(62)])));
        id
    }
}

/// The vocabulary.
pub(super) struct Words {
    words: Vec<String>,
    /// Each word as often as it is frequent (Zipf's law, exponent 1).
    draws: Vec<u16>,
}

impl Words {
    pub(super) fn new() -> Self {
        let mut random = Random::new(7);
        let mut words: Vec<String> = COMMON.split_whitespace().map(str::to_owned).collect();
        while words.len() < WORDS {
            words.push(made_up(&mut random));
        }
        let harmonic: f64 = (1..=WORDS).map(|rank| 1.0 / index(rank)).sum();
        let mut draws = Vec::with_capacity(DRAWS + WORDS);
        for rank in 1..=WORDS {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let share = (index(DRAWS) / index(rank) / harmonic).ceil() as usize;
            let word = u16::try_from(rank - 1).unwrap_or(0);
            draws.extend(std::iter::repeat_n(word, share));
        }
        Self { words, draws }
    }

    pub(super) fn word(&self, random: &mut Random) -> &str {
        &self.words[usize::from(*random.pick(&self.draws))]
    }

    /// Words of which a path, a title or a query is made.
    pub(super) fn several(&self, random: &mut Random, count: usize, between: &str) -> String {
        (0..count).map(|_| self.word(random)).collect::<Vec<_>>().join(between)
    }

    /// Sentences, with a name or a number now and then.
    pub(super) fn prose(&self, random: &mut Random, bytes: usize) -> String {
        let mut text = String::with_capacity(bytes + 24);
        let mut sentence = 0;
        while text.len() < bytes {
            if sentence == 0 {
                sentence = 4 + random.below(16);
                if !text.is_empty() {
                    text.push_str(if random.once_in(5) { ".\n" } else { ". " });
                }
                let word = self.word(random);
                text.extend(word.chars().next().map(|first| first.to_ascii_uppercase()));
                text.push_str(word.get(1..).unwrap_or_default());
            } else {
                text.push(' ');
                match random.below(48) {
                    0 => text.push_str(&name(random)),
                    1 => text.push_str(&random.below(5_000).to_string()),
                    2 => {
                        text.push_str(self.word(random));
                        text.push(',');
                    }
                    _ => text.push_str(self.word(random)),
                }
            }
            sentence -= 1;
        }
        text.push('.');
        text
    }

    /// Rows of a table, as a tool gives them.
    pub(super) fn rows(&self, random: &mut Random, bytes: usize) -> String {
        let mut text = String::from("[");
        while text.len() < bytes {
            if text.len() > 1 {
                text.push(',');
            }
            let row = serde_json::json!({
                "id": format!("A-{}", 10_000 + random.below(900_000)),
                "customer": name(random),
                "status": *random.pick(&["open", "paid", "shipped", "returned", "waiting"]),
                "total": index(random.below(100_000)) / 100.0,
                "items": random.below(9) + 1,
                "note": self.several(random, 6, " "),
                "updated": format!("2026-11-{:02}T{:02}:{:02}:00Z", 1 + random.below(28), random.below(24), random.below(60)),
            });
            text.push_str(&row.to_string());
        }
        text.push(']');
        text
    }

    /// Lines of a program.
    pub(super) fn code(&self, random: &mut Random, bytes: usize) -> String {
        let mut text = String::new();
        while text.len() < bytes {
            let (a, b, c) = (self.several(random, 2, "_"), self.word(random), self.several(random, 2, "_"));
            let line = match random.below(5) {
                0 => format!("def {a}({b}, {c}=None):\n"),
                1 => format!("    {b} = self.{a}({c}, {})\n", random.below(1_000)),
                2 => format!("    if {b} is None and len({c}) > {}:\n        return {a}\n", random.below(64)),
                3 => format!("    # {}\n", self.several(random, 8, " ")),
                _ => format!("    for {b} in {a}.{c}():\n        log.debug(\"{a} %s\", {b})\n"),
            };
            text.push_str(&line);
        }
        text
    }

    /// Lines of a log.
    pub(super) fn log(&self, random: &mut Random, bytes: usize) -> String {
        let mut text = String::new();
        while text.len() < bytes {
            let level = *random.pick(&["INFO", "INFO", "INFO", "DEBUG", "WARN", "ERROR"]);
            let (hour, minute, second, millis) = (random.below(24), random.below(60), random.below(60), random.below(1_000));
            let request = random.next();
            text.push_str(&format!(
                "2026-11-20 {hour:02}:{minute:02}:{second:02}.{millis:03} {level} request={request:016x} {} took {} ms\n",
                self.several(random, 5, " "),
                random.below(4_000)
            ));
        }
        text
    }
}

/// A person's name.
pub(super) fn name(random: &mut Random) -> String {
    format!("{} {}", random.pick(&FIRST_NAMES), random.pick(&LAST_NAMES))
}

/// A word of syllables; rarer ones are longer, as in a language.
fn made_up(random: &mut Random) -> String {
    const ONSETS: [&str; 24] = [
        "b", "c", "d", "f", "g", "h", "l", "m", "n", "p", "r", "s", "t", "v", "w", "st", "tr", "pl", "ch", "sh", "br", "gr", "",
        "",
    ];
    const VOWELS: [&str; 10] = ["a", "e", "i", "o", "u", "e", "a", "ea", "io", "ou"];
    const CODAS: [&str; 14] = ["", "", "", "n", "r", "s", "t", "l", "nd", "st", "ng", "ck", "m", "d"];
    let syllables = 2 + random.below(3);
    (0..syllables).map(|_| format!("{}{}{}", random.pick(&ONSETS), random.pick(&VOWELS), random.pick(&CODAS))).collect()
}

#[allow(clippy::cast_precision_loss)]
fn index(number: usize) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_text() {
        let words = Words::new();
        let text = |seed| words.prose(&mut Random::new(seed), 2_000);
        assert_eq!(text(1), text(1));
        assert_ne!(text(1), text(2));
    }

    /// English prose of this length compresses to 0.35 to 0.45. What compresses better would flatter every figure about disk.
    #[test]
    fn prose_is_not_easier_to_compress_than_english() {
        let words = Words::new();
        let text = words.prose(&mut Random::new(3), 200_000);
        let packed = zstd::bulk::compress(text.as_bytes(), 3).unwrap();
        let ratio = packed.len() as f64 / text.len() as f64;
        assert!((0.33..0.5).contains(&ratio), "{ratio}");
    }
}
