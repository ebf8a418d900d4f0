//! `train` and `eval`: the text classifier.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::Signatures;

/// Corpora of labelled texts.
#[derive(Debug, Args)]
pub(crate) struct Corpora {
    /// Labelled texts to train on: JSONL of {"text", "label": "attack"|"benign", "kind", "channel", "source", "repo"?}
    #[arg(long = "train", value_name = "FILE", required = true)]
    pub(crate) train: Vec<PathBuf>,
    /// Labelled texts that no model is trained on, of the same form
    #[arg(long = "dev", value_name = "FILE")]
    pub(crate) dev: Vec<PathBuf>,
    /// Texts that every model is trained on and none is measured by: a file, or a directory of them
    #[arg(long = "always", value_name = "PATH")]
    pub(crate) always: Vec<PathBuf>,
}

/// `watchkeeper train`.
#[derive(Debug, Args)]
pub(crate) struct TrainOptions {
    #[command(flatten)]
    pub(crate) corpora: Corpora,
    /// Where the model is written
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// What the model is called in its head
    #[arg(long, default_value = "watchkeeper-text")]
    pub(crate) name: String,
}

/// `watchkeeper eval ...`.
#[derive(Debug, Subcommand)]
pub(crate) enum Eval {
    /// Recall and false positives of text inspection by kind and source
    #[command(
        after_help = "Example:\n  watchkeeper eval text labelled.jsonl                      # this program, as it is\n  watchkeeper eval text labelled.jsonl --model own.wkmodel --signatures ./signatures\n  watchkeeper eval text --leave-one-source-out --train train.jsonl --dev dev.jsonl --always content/training\n\nEach row is {\"text\", \"label\": \"attack\"|\"benign\", \"kind\", \"channel\", \"source\", \"repo\"?}. Rates have 95 % intervals after Wilson. Each text is judged alone, without a system prompt.\n\nExit: 0, or 2 when it cannot be measured."
    )]
    Text(EvalTextOptions),
}

#[derive(Debug, Args)]
pub(crate) struct EvalTextOptions {
    /// Labelled texts
    #[arg(required_unless_present = "leave_one_source_out")]
    pub(crate) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) signatures: Signatures,
    /// Train a model for each family of sources without it, and measure by the family that it did not see
    #[arg(long, requires = "train", conflicts_with_all = ["files", "config", "dirs", "no_builtin_signatures", "model"])]
    pub(crate) leave_one_source_out: bool,
    /// Labelled texts to train on
    #[arg(long = "train", value_name = "FILE", requires = "leave_one_source_out")]
    pub(crate) train: Vec<PathBuf>,
    /// Labelled texts that no model is trained on
    #[arg(long = "dev", value_name = "FILE", requires = "leave_one_source_out")]
    pub(crate) dev: Vec<PathBuf>,
    /// Texts that every model is trained on and none is measured by: a file, or a directory of them
    #[arg(long = "always", value_name = "PATH", requires = "leave_one_source_out")]
    pub(crate) always: Vec<PathBuf>,
    /// What is measured
    #[arg(long, value_enum, default_value = "product", requires = "leave_one_source_out")]
    pub(crate) setting: SettingName,
    /// How the figures are written
    #[arg(long, value_enum, default_value = "markdown")]
    pub(crate) format: ReportFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SettingName {
    /// Classifier and signatures together
    Product,
    /// The classifier, which knows nothing of signatures
    Classifier,
    /// Signatures and structural checks
    Signatures,
    /// Logistic regression over single words, for comparison
    Words,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    /// Tables
    Markdown,
    /// All counts
    Json,
}
