//! The rules and runbooks that come with the program (`content/`). A test holds that no file is left out.

macro_rules! rules {
    ($($name:literal),* $(,)?) => {
        /// Rule files: name and text.
        pub(crate) const RULES: &[(&str, &str)] =
            &[$((concat!("content/rules/", $name, ".yml"), include_str!(concat!("../../../content/rules/", $name, ".yml")))),*];
    };
}

macro_rules! runbooks {
    ($($name:literal),* $(,)?) => {
        /// Runbooks: name and text.
        pub(crate) const RUNBOOKS: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../../../content/runbooks/", $name, ".md")))),*];
    };
}

rules![
    "address-to-fill-in",
    "agent-instructions-written",
    "agent-started-unattended",
    "ai-service-past-gateway",
    "attack-in-steps",
    "behaviour-account-shared",
    "behaviour-agent-tools",
    "behaviour-breadth",
    "behaviour-errors",
    "behaviour-key-elsewhere",
    "behaviour-model-output",
    "behaviour-model-resources",
    "behaviour-model-route",
    "behaviour-model-shift",
    "behaviour-new-model",
    "behaviour-new-place",
    "behaviour-new-place-of-others",
    "behaviour-new-subject",
    "behaviour-off-day",
    "behaviour-off-hours",
    "behaviour-refusals",
    "behaviour-silence",
    "behaviour-subject-shift",
    "behaviour-system-prompt",
    "behaviour-token-flood",
    "behaviour-tool-shift",
    "behaviour-volume",
    "behaviour-volume-drop",
    "behaviour-volume-ramp",
    "canary",
    "chat-control-sequence",
    "cloud-metadata",
    "credential-in-prompt",
    "credential-in-response",
    "credential-in-tool-arguments",
    "data-sent-by-tool",
    "destructive-tool-call",
    "download-and-run",
    "egress-raw-address",
    "encoded-command-in-text",
    "evaluation-baseline",
    "evaluation-drift",
    "evaluation-model-changed",
    "exfiltration-host",
    "external-email-forwarding",
    "extraction-across-accounts",
    "extraction-coverage",
    "extraction-template",
    "financial-stream",
    "flow-destination",
    "guardrail-denied",
    "guardrail-weakened",
    "hidden-from-user",
    "intel-answer",
    "intel-client",
    "intel-destination",
    "intel-prompt",
    "intel-supply-chain",
    "intel-untrusted-text",
    "inversion-chain",
    "invisible-characters",
    "jailbreak-persona",
    "logprob-harvest",
    "logprob-harvest-unusual",
    "markdown-image-exfiltration",
    "mcp-server-added",
    "mcp-tool-changed",
    "membership-probe",
    "model-call-burst",
    "model-under-the-hood",
    "obfuscated-payload",
    "package-from-url",
    "paste-into-terminal",
    "permission-bypass",
    "persona-build-up",
    "personal-data-burst",
    "prompt-injection-direct",
    "prompt-injection-document",
    "prompt-injection-tool-result",
    "prompt-injection-triggered",
    "proprietary-code",
    "refusal-burst",
    "rephrase-after-refusal",
    "retrieval-steered",
    "retrieval-sweep",
    "second-opinion",
    "secret-returned",
    "sensitive-file-read",
    "shell-by-tool",
    "system-prompt-asked",
    "system-prompt-leaked",
    "system-prompt-overlap",
    "text-addresses-model",
    "token-flood",
    "tool-bulk-read",
    "tool-definition-poisoned",
    "watch-weakened",
];
runbooks![
    "abuse-volume",
    "agent-configuration",
    "content-policy",
    "credential-exposure",
    "data-leak",
    "exfiltration",
    "extraction",
    "jailbreak",
    "knowledge-base",
    "known-indicator",
    "model-drift",
    "obfuscation",
    "prompt-injection",
    "risk",
    "silence",
    "supply-chain",
    "system-prompt-leak",
    "tool-misuse",
    "unusual-behaviour",
];

/// The text of a runbook, by its name.
#[must_use]
pub fn runbook(name: &str) -> Option<&'static str> {
    RUNBOOKS.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// The names of the runbooks that come with the program, in the order of the alphabet.
pub fn runbooks() -> impl Iterator<Item = &'static str> {
    RUNBOOKS.iter().map(|(name, _)| *name)
}

/// The text of a rule file that comes with the program, by the file that its rules name.
#[must_use]
pub fn builtin_rule_text(file: &std::path::Path) -> Option<&'static str> {
    RULES.iter().find(|(known, _)| std::path::Path::new(known) == file).map(|(_, text)| *text)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_file_is_left_out() {
        for (dir, ending, listed) in [
            (
                "rules",
                "yml",
                RULES.iter().map(|(name, _)| name.trim_start_matches("content/rules/").trim_end_matches(".yml")).collect(),
            ),
            ("runbooks", "md", RUNBOOKS.iter().map(|(name, _)| *name).collect::<BTreeSet<&str>>()),
        ] {
            let path = format!("{}/../../content/{dir}", env!("CARGO_MANIFEST_DIR"));
            let files: BTreeSet<String> = std::fs::read_dir(path)
                .unwrap()
                .filter_map(|entry| {
                    entry
                        .unwrap()
                        .file_name()
                        .to_str()
                        .and_then(|name| name.strip_suffix(&format!(".{ending}")))
                        .map(ToOwned::to_owned)
                })
                .collect();
            assert_eq!(files.iter().map(String::as_str).collect::<BTreeSet<_>>(), listed, "{dir}");
        }
    }
}
