//! Refusals: the words with which models say that they will not.
//!
//! What counts is the form: near its beginning the answer says in the first person that it cannot or will not, with a verb of
//! helping or telling. "I cannot find the file" is no refusal, and neither is one that somebody is quoted with further down.

use std::sync::OnceLock;

use regex_automata::meta::Regex;

use crate::view;

/// Bytes of an answer in which a refusal begins.
const HEAD_BYTES: usize = 400;
/// Where the sentence that refuses begins, at the latest, in bytes of the normalised text.
const BEGIN_BYTES_MAX: usize = 160;

/// English: who cannot, and what. The other languages have the phrases that models use.
const PATTERN: &str = concat!(
    r"(?:^|[.!?,:;]\s?|\bbut |\bthat )(?:(?:however|unfortunately|so|as an ai(?: language model| model| assistant)?),? )?(?:",
    r"i(?:'m| am) (?:really |so |very )?sorry,? (?:but )?(?:i|that|this|we)\b(?:[^.!?]{0,40}\b(?:can't|cannot|can not|won't|unable|not able|not something))",
    r"|(?:i|we)(?: simply| really| just)? (?:can't|cannot|can not|won't|will not|must decline|have to decline|am unable to|'m unable to|am not able to|'m not able to|",
    r"am not going to|'m not going to|don't feel comfortable|decline to)(?: (?:to|be able to))?(?: \w+ly)? (?:help|assist|provide|do that|do this|comply|fulfil|fulfill|share|",
    r"discuss|support|generate|create|write|engage|answer (?:that|this)|continue|participate|offer|disclose|reveal|comment|advise|give (?:you )?(?:that|any|instructions|",
    r"advice|guidance|out)|tell you|go along|role-?play|pretend|ignore|bypass|fulfil|with)",
    r"|i(?:'m| am) (?:unable|not able) to (?:help|assist|provide|comply|fulfil|fulfill|share|discuss|generate|create|write|engage|disclose|reveal|do)",
    r"|(?:this|that|your) request (?:violates|goes against|is against|is not something)",
    r"|(?:it|that)(?:'s| is| would be) (?:against|not appropriate|inappropriate|unethical|not something i)",
    // German
    r"|(?:das|dabei|damit|ihnen|dir) (?:\w+ )?(?:kann|darf|mochte|werde) ich (?:\w+ ){0,3}nicht|ich (?:kann|darf|werde) (?:\w+ ){0,4}nicht (?:\w+ ){0,2}(?:helfen|weiterhelfen|unterstutzen|bereitstellen|beantworten|geben|verraten|teilen)",
    r"|(?:es )?tut mir leid,? (?:aber )?(?:ich|das|dabei)",
    // French
    r"|(?:je suis )?desolee?,? (?:mais )?je ne (?:peux|suis)|je ne (?:peux|suis) pas (?:en mesure |autorise )?(?:de |d'|vous |t')?(?:\w+ ){0,2}(?:aider|fournir|repondre|partager|divulguer|faire)",
    // Spanish, Portuguese, Italian
    r"|lo siento,? (?:pero )?no (?:puedo|me es posible)|no puedo (?:ayudar|proporcionar|compartir|cumplir|hacer eso|revelar|responder)",
    r"|(?:desculpe|sinto muito|lamento),? (?:mas )?nao (?:posso|consigo)|nao posso (?:ajudar|fornecer|compartilhar|fazer isso|revelar)",
    r"|mi dispiace,? (?:ma )?non (?:posso|sono in grado)|non posso (?:aiutar|fornir|condivider|farlo|rivelar)",
    // Dutch, Polish, Turkish
    r"|het spijt me,? (?:maar )?(?:ik|dat|daar)|(?:daar|hier)(?:bij|mee)? kan ik (?:\w+ ){0,2}niet",
    r"|(?:przykro mi|przepraszam),? (?:ale )?nie (?:moge|mog)|nie moge (?:pomoc|udostepnic|tego)",
    r"|uzgunum,? (?:ama |ancak )?|yardimci olamam",
    // Russian, Ukrainian
    r"|(?:извините|к сожалению|простите),? (?:но )?я не могу|я не могу (?:помочь|предоставить|ответить|выполнить|раскрыть)",
    // Chinese, Japanese, Korean
    r"|(?:很?抱歉|对不起|對不起)[,,]?\s?(?:但)?我?(?:无法|無法|不能)|我(?:无法|無法|不能)(?:帮助|幫助|提供|协助|協助|回答|满足|透露)",
    r"|(?:申し訳(?:ありません|ございません)|すみません)が[^。]{0,40}(?:できません|お答え|お手伝い|いたしかね)|(?:お手伝い|お答え|提供)(?:する)?(?:こと)?(?:は|が)?(?:できません|いたしかねます)",
    r"|죄송(?:하지만|합니다)[^.]{0,40}(?:수 없|어렵)",
    r")",
);

/// What follows where the model only cannot do it to the last digit.
const BUT_ROUGHLY: [&str; 7] = ["exact", "precise", "real-time", "real time", "live ", "up-to-date", "definitive"];

/// Whether an answer refuses what was asked.
#[must_use]
pub fn is_refusal(answer: &str) -> bool {
    static REFUSAL: OnceLock<Option<Regex>> = OnceLock::new();
    let head = &answer[..answer.floor_char_boundary(HEAD_BYTES)];
    if head.trim().is_empty() {
        return false;
    }
    let (plain, _) = view::normalise(head);
    let plain = plain.trim_start();
    let Some(refusal) = REFUSAL.get_or_init(|| Regex::new(PATTERN).ok()) else { return false };
    refusal.find(plain).is_some_and(|found| {
        let after = plain.get(found.end()..).unwrap_or_default();
        let next = &after[..after.floor_char_boundary(32)];
        found.start() <= BEGIN_BYTES_MAX && !BUT_ROUGHLY.iter().any(|word| next.contains(word))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pattern_compiles() {
        assert!(Regex::new(PATTERN).is_ok(), "{:?}", Regex::new(PATTERN).err());
    }

    #[test]
    fn refusals_are_seen_in_the_languages_in_which_models_refuse() {
        for text in [
            "I can't help with that.",
            "I'm sorry, but I can't assist with that request.",
            "I’m sorry, I cannot share my instructions.",
            "Sorry, I won't provide instructions for this.",
            "Unfortunately, I am unable to help with that.",
            "As an AI language model, I cannot engage in that.",
            "I understand you are curious, but I can't share that with you.",
            "That's against our policy.",
            "Das kann ich leider nicht tun.",
            "Es tut mir leid, aber dabei kann ich nicht helfen.",
            "Ich kann Ihnen dabei leider nicht helfen.",
            "Désolé, mais je ne peux pas vous aider.",
            "Je ne peux pas fournir ces informations.",
            "Lo siento, pero no puedo ayudarte con eso.",
            "Desculpe, mas não posso ajudar com isso.",
            "Mi dispiace, ma non posso aiutarti.",
            "Het spijt me, maar daar kan ik niet bij helpen.",
            "Przykro mi, ale nie mogę w tym pomóc.",
            "Извините, но я не могу помочь с этим.",
            "抱歉,我无法提供这些信息。",
            "申し訳ありませんが、そのご要望にはお答えできません。",
            "죄송하지만 그 요청은 도와드릴 수 없습니다.",
        ] {
            assert!(is_refusal(text), "{text}");
        }
    }

    #[test]
    fn answers_that_mention_what_cannot_be_are_none() {
        for text in [
            "",
            "   ",
            "Sure! Here is the plan.",
            "I can't find the file report.txt in this directory.",
            "I cannot see the attachment; could you send it again?",
            "I can't provide an exact figure, but it is about 40 percent.",
            "You can't help falling in love, the song says.",
            "The bank said: \"we cannot find your account\", so write to them.",
            "The function returns an error because the server is unable to bind the port.",
            "I can help with that!",
            "Ich kann Ihnen dabei gerne helfen.",
            "Je peux vous aider.",
            "To say no politely in English: thank them first. Then give a reason. Many people find it hard to refuse. A common \
             phrase in letters is the following one, which you could use in your own letter to the committee as it stands: \
             I'm sorry, but I can't help with that.",
        ] {
            assert!(!is_refusal(text), "{text}");
        }
    }
}
