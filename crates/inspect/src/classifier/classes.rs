//! Words of one meaning, as far as attacks and what resembles them turn on it: what one source says in one word, another says in its
//! neighbour.

use std::sync::LazyLock;

use super::features::hash_of_word;

/// The number of a class, from 1.
pub(super) type Class = u8;

/// Words by class, as they are in a normalised text. Written by hand, from the language and not from a corpus.
const WORDS: [&str; 27] = [
    // To put aside.
    "ignore ignores ignoring ignored disregard disregards disregarding forget forgetting bypass bypassing override overrides overriding skip \
     neglect dismiss discard abandon overlook omit nullify unlearn circumvent evade supersede supersedes ignoriere ignorieren vergiss \
     vergessen missachte ignorez oublie oubliez ignora ignorar olvida olvide olvidar ignorare dimentica negeer vergeet",
    // What was laid down.
    "instructions instruction instructed rules rule guidelines guideline directives directive policies policy restrictions restriction \
     constraints constraint safeguards safeguard filters filter limitations limitation limits guardrails protocols protocol orders order \
     commands command programming regulations boundaries anweisungen anweisung regeln regel richtlinien vorgaben consignes regles \
     instrucciones reglas istruzioni regole instructies instrucoes regras",
    // What came before.
    "previous previously prior above earlier preceding former formerly original originally initial initially foregoing before past existing \
     bisherigen bisherige vorherigen vorherige obigen vorigen precedentes precedente anteriores anterior previas precedenti eerdere vorige",
    // What a model is given.
    "prompt prompts system preamble context prepended systemprompt promptly metaprompt pretext",
    // To bring out.
    "reveal reveals revealing show print display output outputs repeat tell disclose disclosing expose leak share dump recite echo list write \
     provide paste verbatim reproduce summarize summarise translate spell zeige zeig nenne montre affiche muestra revela mostra",
    // What is kept.
    "secret secrets confidential hidden private password passwords passphrase passcode key keys token tokens credential credentials \
     classified internal sensitive undisclosed geheim geheime passwort secrete contrasena segreto",
    // Who reads.
    "ai llm chatbot assistant assistants bot gpt chatgpt claude gemini llama copilot model models agent agents openai anthropic ki",
    // To be somebody else.
    "act acting acts pretend pretending roleplay role simulate simulating simulation imagine persona character impersonate become play emulate \
     behave portray embody personify assume",
    // Without bounds.
    "unrestricted unfiltered uncensored unlimited unethical immoral amoral illegal illegally jailbreak jailbroken dan freed unbound \
     unmoderated unconstrained unhinged evil lawless harmful dangerous forbidden prohibited taboo",
    // What has to be.
    "must always never shall mandatory obey obeys obeying comply complies complying follow follows adhere required strictly absolutely \
     regardless whatever",
    // To decline, and how it sounds.
    "refuse refuses refusing refusal refusals apologize apologise apologies sorry decline declining reject cannot can't warn warnings \
     disclaimer disclaimers moralize lecture censor censorship",
    // From here on.
    "now new instead hereafter henceforth onwards onward following next immediately nun stattdessen maintenant ahora adesso",
    // To bring away.
    "send sends sending forward forwards email mail post upload transfer transmit exfiltrate submit deliver publish sende schicke envoie \
     envoyez envia enviar",
    // To destroy.
    "delete deletes deleting remove removes erase wipe destroy purge truncate shred deactivate disable unlock",
    // What is somebody's.
    "user users user's customer customers account accounts contacts inbox file files data record records calendar documents history \
     conversation",
    // Heed this.
    "important urgent urgently attention warning critical priority emergency todo notice alert wichtig achtung importante",
    // Unseen.
    "secretly silently quietly without mention mentioning notify notifying inform informing telling hide hiding conceal concealing covertly \
     invisible stealthily discreetly",
    // Ways to work.
    "mode modes developer debug debugging admin administrator root sudo maintenance diagnostic god privileged elevated authorized authorised \
     operator superuser",
    // To answer.
    "answer answers answering respond responds responding reply replies response responses say says begin start antworte reponds responde",
    // The one that is addressed.
    "you your yours yourself you're you've you'll du dein deine dir sie vous votre tu tus usted",
    // What is asked.
    "task tasks goal goals request requests question questions query job mission objective purpose aufgabe tache tarea",
    // Money.
    "pay payment payments bank iban bitcoin wire refund money funds deposit invoice price purchase buy dollars euros",
    // To do by machine.
    "run execute executes executing call invoke install installing curl wget bash shell script open visit click navigate download fetch \
     grant",
    // What is right.
    "ethics ethical ethically moral morals morality morally legal legality law laws safety safe content openai's principles norms consent",
    // Made up.
    "hypothetical hypothetically fictional fiction fictitious story novel scenario dialogue game movie screenplay alternate universe parallel \
     theoretical",
    // To end, and to begin anew.
    "end ends stop finish finished reset restart clear erased terminate cease",
    // To stay.
    "stay remain keep maintain break breaking leave exit switch",
];

/// Places of the table, several for each word.
const PLACES: usize = 2048;

/// The bits of a place that hold the class; the others hold the word's hash. 0 is a free place.
const CLASS_BITS: u64 = 0xff;

static TABLE: LazyLock<Box<[u64; PLACES]>> = LazyLock::new(|| {
    let mut table = Box::new([0; PLACES]);
    for (words, class) in WORDS.iter().zip(1_u64..) {
        for word in words.split_ascii_whitespace() {
            let hash = hash_of_word(word);
            let (at, known) = find(&table, hash);
            // A word of two classes is of the first.
            if known == 0 {
                table[at] = hash & !CLASS_BITS | class;
            }
        }
    }
    table
});

/// Where a word is, or would be, and what is there.
#[inline]
fn find(table: &[u64; PLACES], hash: u64) -> (usize, u64) {
    let mut at = (hash >> 32) as usize % PLACES;
    loop {
        let known = table[at];
        if known == 0 || (known ^ hash) & !CLASS_BITS == 0 {
            return (at, known);
        }
        at = (at + 1) % PLACES;
    }
}

/// The classes of words.
#[derive(Clone, Copy)]
pub(super) struct Classes(&'static [u64; PLACES]);

impl Classes {
    pub(super) fn get() -> Self {
        Self(&TABLE)
    }

    /// The class of a word with this hash.
    #[inline]
    pub(super) fn of(self, hash: u64) -> Option<Class> {
        let (_, known) = find(self.0, hash);
        (known != 0).then_some((known & CLASS_BITS) as Class)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_one_meaning_are_of_one_class() {
        let class = |word: &str| Classes::get().of(hash_of_word(word));
        assert!(class("ignore").is_some());
        assert_eq!(class("ignore"), class("disregard"));
        assert_eq!(class("instructions"), class("richtlinien"));
        assert_ne!(class("ignore"), class("instructions"));
        assert_eq!(class("potato"), None);
    }

    #[test]
    fn every_word_is_a_token_and_has_room() {
        let mut words = 0;
        for word in WORDS.iter().flat_map(|words| words.split_ascii_whitespace()) {
            let found: Vec<_> = crate::classifier::tokens::tokens(word).collect();
            assert_eq!((found.len(), found[0].end), (1, word.len()), "{word}");
            assert_eq!(crate::view::normalise(word).0, word);
            assert!(Classes::get().of(hash_of_word(word)).is_some());
            words += 1;
        }
        assert!(words * 3 < PLACES, "{words} words make the table slow");
    }
}
