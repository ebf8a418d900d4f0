//! Structural checks: what no list of phrases can say.

mod density;
mod invisible;
mod markup;

pub(crate) use density::density;
pub(crate) use invisible::invisible;
pub(crate) use markup::markup;

use event::{Risk, TechniqueId};

use crate::classifier::Origin;

/// A structural check, which findings name like a signature.
#[derive(Debug, PartialEq)]
pub(crate) struct Check {
    pub(crate) id: &'static str,
    pub(crate) family: &'static str,
    pub(crate) risk: Risk,
    technique: &'static str,
    pub(crate) score: f32,
}

impl Check {
    /// Something that a signature knows was found under an encoding or another disguise.
    pub(crate) const ENCODED_PAYLOAD: &'static Self =
        &Self::new("structure.encoded_payload", "obfuscation", Risk::Obfuscation, "AML.T0068", 0.5);
    /// Text in Unicode tag characters, which nobody sees.
    pub(crate) const TAG_CHARACTERS: &'static Self =
        &Self::new("structure.tag_characters", "obfuscation", Risk::Obfuscation, "AML.T0068", 0.85);
    /// Variation selectors in a row, which carry bytes and show nothing.
    pub(crate) const VARIATION_SELECTORS: &'static Self =
        &Self::new("structure.variation_selectors", "obfuscation", Risk::Obfuscation, "AML.T0068", 0.7);
    /// Zero-width characters inside words or in long runs.
    pub(crate) const ZERO_WIDTH: &'static Self =
        &Self::new("structure.zero_width", "obfuscation", Risk::Obfuscation, "AML.T0068", 0.5);
    /// Overrides of the direction of writing, by which text reads otherwise than it is.
    pub(crate) const BIDI_OVERRIDE: &'static Self =
        &Self::new("structure.bidi_override", "obfuscation", Risk::Obfuscation, "AML.T0068", 0.35);
    /// An image that is fetched from a foreign place with data in its address.
    pub(crate) const IMAGE_EXFILTRATION: &'static Self =
        &Self::new("structure.image_exfiltration", "exfil", Risk::DataExfiltration, "AML.T0077", 0.6);
    /// A link with a place to fill data into.
    pub(crate) const LINK_EXFILTRATION: &'static Self =
        &Self::new("structure.link_exfiltration", "exfil", Risk::DataExfiltration, "AML.T0077", 0.4);
    /// An address that is a program or a page of its own.
    pub(crate) const ACTIVE_ADDRESS: &'static Self =
        &Self::new("structure.active_address", "output", Risk::ImproperOutputHandling, "AML.T0077", 0.5);
    /// Escapes by which a terminal hides or overwrites text, or puts it elsewhere.
    pub(crate) const TERMINAL_ESCAPE: &'static Self =
        &Self::new("structure.terminal_escape", "output", Risk::ImproperOutputHandling, "AML.T0077", 0.5);
    /// Many commands to a reader in text that should be data.
    pub(crate) const INSTRUCTION_DENSITY: &'static Self =
        &Self::new("structure.instruction_density", "density", Risk::PromptInjection, "AML.T0051.001", 0.3);
    /// Output that repeats the system prompt.
    pub(crate) const PROMPT_LEAK: &'static Self =
        &Self::new("structure.prompt_leak", "leak", Risk::SystemPromptLeakage, "AML.T0056", 0.5);

    /// The classifier on what a user said.
    const CLASSIFIER_USER: &'static Self =
        &Self::new("classifier.user", "classifier", Risk::PromptInjection, "AML.T0051.000", 0.4);
    /// The classifier on a tool's result or a document.
    const CLASSIFIER_DATA: &'static Self =
        &Self::new("classifier.data", "classifier", Risk::PromptInjection, "AML.T0051.001", 0.4);

    /// The classifier's opinion of texts of an origin.
    pub(crate) const fn classifier(origin: Origin) -> &'static Self {
        match origin {
            Origin::User => Self::CLASSIFIER_USER,
            Origin::Data => Self::CLASSIFIER_DATA,
        }
    }
    /// A marker that stands nowhere but in what must not come out. Findings name its label, `canary.LABEL`.
    pub(crate) const CANARY: &'static Self = &Self::new("canary", "canary", Risk::SensitiveInfoDisclosure, "AML.T0057", 0.95);

    const fn new(id: &'static str, family: &'static str, risk: Risk, technique: &'static str, score: f32) -> Self {
        Self { id, family, risk, technique, score }
    }

    /// The technique; a test makes sure that each exists.
    pub(crate) fn technique(&self) -> Option<TechniqueId> {
        self.technique.parse().ok()
    }
}

/// A place where a check struck, in bytes.
#[derive(Debug, PartialEq)]
pub(crate) struct Hit {
    pub(crate) check: &'static Check,
    pub(crate) score: f32,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Hit {
    fn new(check: &'static Check, start: usize, end: usize) -> Self {
        Self { check, score: check.score, start, end }
    }
}

#[cfg(test)]
mod tests {
    use super::Check;

    #[test]
    fn every_check_has_a_technique_that_exists() {
        for check in [
            Check::ENCODED_PAYLOAD,
            Check::TAG_CHARACTERS,
            Check::VARIATION_SELECTORS,
            Check::ZERO_WIDTH,
            Check::BIDI_OVERRIDE,
            Check::IMAGE_EXFILTRATION,
            Check::LINK_EXFILTRATION,
            Check::ACTIVE_ADDRESS,
            Check::TERMINAL_ESCAPE,
            Check::INSTRUCTION_DENSITY,
            Check::PROMPT_LEAK,
            Check::CLASSIFIER_USER,
            Check::CLASSIFIER_DATA,
            Check::CANARY,
        ] {
            assert!(check.technique().is_some(), "{}", check.id);
        }
    }
}
