//! What is built into the program: signatures, and the classifier's model.

use crate::classifier::{Model, ModelError};

/// Names and contents of the files of `content/signatures`.
pub(crate) const SIGNATURES: [(&str, &str); 9] = [
    ("agent.yaml", include_str!("../../../content/signatures/agent.yaml")),
    ("command.yaml", include_str!("../../../content/signatures/command.yaml")),
    ("exfil.yaml", include_str!("../../../content/signatures/exfil.yaml")),
    ("fragments.yaml", include_str!("../../../content/signatures/fragments.yaml")),
    ("jailbreak.yaml", include_str!("../../../content/signatures/jailbreak.yaml")),
    ("leak.yaml", include_str!("../../../content/signatures/leak.yaml")),
    ("override.yaml", include_str!("../../../content/signatures/override.yaml")),
    ("role.yaml", include_str!("../../../content/signatures/role.yaml")),
    ("social.yaml", include_str!("../../../content/signatures/social.yaml")),
];

/// The model that is built in: `content/models/text.wkmodel`.
pub(crate) fn model() -> Result<Model, ModelError> {
    Model::from_static(include_bytes!("../../../content/models/text.wkmodel"))
}

#[cfg(test)]
mod tests {
    use super::SIGNATURES;
    use crate::Inspector;

    #[test]
    fn every_file_is_built_in() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../content/signatures");
        let mut files: Vec<String> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        files.retain(|name| name.ends_with(".yaml"));
        files.sort();
        assert_eq!(files, SIGNATURES.map(|(name, _)| name));
    }

    #[test]
    fn every_signature_loads_and_passes_its_examples() {
        let sources: Vec<(String, String)> = SIGNATURES.map(|(name, yaml)| (name.to_owned(), yaml.to_owned())).to_vec();
        let problems: Vec<String> = Inspector::check(&sources).iter().map(ToString::to_string).collect();
        assert!(problems.is_empty(), "{}", problems.join("\n"));
        let checked = Inspector::from_sources(&sources).unwrap();
        let builtin = Inspector::builtin().unwrap();
        assert!(checked.signature_count() >= 50);
        assert_eq!(checked.digest(), builtin.digest());
    }
}
