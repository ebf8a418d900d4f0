//! `train` and `eval`: the text classifier.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::options::Operator;
use super::{Data, Signatures};

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
        after_help = "Example:\n  watchkeeper eval text labelled.jsonl                      # this program, as it is\n  watchkeeper eval text labelled.jsonl --model own.wkmodel --signatures ./signatures\n  watchkeeper eval text --leave-one-source-out \\\n      --train train.jsonl --dev dev.jsonl --always content/training\n\nEach row is {\"text\", \"label\": \"attack\"|\"benign\", \"kind\", \"channel\", \"source\", \"repo\"?}. Rates have 95 % intervals after Wilson. Each text is judged alone, without a system prompt.\n\nExit: 0, or 2 when it cannot be measured."
    )]
    Text(EvalTextOptions),
    /// Recall and false alarms of content flow on recorded sessions of agents
    #[command(
        after_help = "Example:\n  watchkeeper eval traces sessions.jsonl\n  watchkeeper eval traces sessions.jsonl --leave-one-suite-out \\\n    --train train.jsonl --dev dev.jsonl --always content/training\n\nEach row is {\"trace_id\", \"suite\", \"model\"?, \"attack\": NAME|null, \"exposed\": BOOL, \"attack_succeeded\": BOOL, \"messages\": [...]}. The sessions are recorded, sanitised, inspected and detected as in service, in a record that is thrown away; labels only score."
    )]
    Traces(EvalTracesOptions),
    /// Whether a model answers a benchmark set as it did
    #[command(
        after_help = "Example:\n  watchkeeper eval model --set sums.jsonl --model gpt-x --api-key env:OPENAI_API_KEY \\\n      --endpoint https://api.openai.com/v1/chat/completions --record sums.baseline.json\n  watchkeeper eval model --set sums.jsonl --model gpt-x --api-key env:OPENAI_API_KEY \\\n      --endpoint https://api.openai.com/v1/chat/completions --baseline sums.baseline.json\n\nEach row of a set is {\"id\", \"prompt\" or \"messages\", \"grader\": {\"type\", \"value\"?}, \"category\"?} (docs/guides/evaluate-a-model.md). Scores are compared item by item, over all items and by category; names, tokens of prompts and likeness of answers tell whether something else answers. With --data (or WATCHKEEPER_DATA) the run is recorded, and detections are raised. A server does the same on schedule: [[evaluate]].\n\nExit: 0 no change, or nothing to compare with; 1 changed; 2 when it could not be run to its end or compared."
    )]
    Model(Box<EvalModelOptions>),
    /// Take a baseline for the right one: from now on the runs of an evaluation on schedule are compared with it
    #[command(
        after_help = "Example:\n  watchkeeper eval model --set sums.jsonl --model gpt-y --api-key env:OPENAI_API_KEY \\\n      --endpoint https://api.openai.com/v1/chat/completions --record sums.baseline.json\n  watchkeeper eval accept --name sums --baseline sums.baseline.json\n\nThe first baseline of an evaluation ([[evaluate]]) is accepted by its first run. After that a file that is gone comes back from a sealed copy, and one that was changed is not believed: this is how to change it. Who did it is recorded. The name is that of an [[evaluate]] that the server was started with.\n\nExit: 0, or 2 when it could not be accepted."
    )]
    Accept(EvalAcceptOptions),
}

/// `watchkeeper eval accept`.
#[derive(Debug, Args)]
pub(crate) struct EvalAcceptOptions {
    /// The evaluation's name in the configuration
    #[arg(long)]
    pub(crate) name: String,
    /// The baseline
    #[arg(long, value_name = "FILE")]
    pub(crate) baseline: PathBuf,
    #[command(flatten)]
    pub(crate) data: Data,
    #[command(flatten)]
    pub(crate) operator: Operator,
}

/// `watchkeeper eval model`.
#[derive(Debug, Args)]
pub(crate) struct EvalModelOptions {
    /// The benchmark set
    #[arg(long, value_name = "FILE")]
    pub(crate) set: PathBuf,
    /// The whole address that is posted to
    #[arg(long, value_name = "URL")]
    pub(crate) endpoint: String,
    /// The model that is asked for
    #[arg(long)]
    pub(crate) model: String,
    /// What is spoken there
    #[arg(long, value_enum, default_value = "openai-chat")]
    pub(crate) api: ApiName,
    /// The key that is sent: env:VARIABLE or file:/path
    #[arg(long, value_name = "SOURCE")]
    pub(crate) api_key: Option<String>,
    /// What the evaluation is called in the record [default: the set's name]
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Compare with the runs of this file
    #[arg(long, value_name = "FILE")]
    pub(crate) baseline: Option<PathBuf>,
    /// Write the run to this file, to be compared with later; where it has runs of the same kind, add it to them
    #[arg(long, value_name = "FILE")]
    pub(crate) record: Option<PathBuf>,
    /// How often each item is asked: twice or more tells whether answers are those of the same model
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=16))]
    pub(crate) repeat: u32,
    /// Questions that are under way at once
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) concurrency: u32,
    /// Most requests, those to a judge and those that are sent again included
    #[arg(long, default_value_t = 5_000)]
    pub(crate) max_calls: u64,
    /// Sampling temperature
    #[arg(long, default_value_t = 0.0)]
    pub(crate) temperature: f64,
    /// Most tokens of an answer
    #[arg(long, default_value_t = 512)]
    pub(crate) max_tokens: u32,
    /// A further member of the request, as the provider names it; may be given several times
    #[arg(long = "parameter", value_name = "NAME=JSON")]
    pub(crate) parameters: Vec<String>,
    /// A member of the request that is left out, such as temperature; may be given several times
    #[arg(long, value_name = "NAME")]
    pub(crate) omit: Vec<String>,
    /// How long an answer may take, in seconds
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub(crate) timeout: u64,
    /// How long the whole run may take, in seconds: what is not answered by then is missing, and the run is incomplete
    #[arg(long, default_value_t = 3_600, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) deadline: u64,
    /// The probability of calling a model changed that has not
    #[arg(long, default_value_t = 0.01)]
    pub(crate) alpha: f64,
    /// Who grades items with a judge: the whole address
    #[arg(long, value_name = "URL", requires = "judge_model")]
    pub(crate) judge: Option<String>,
    /// The model that grades
    #[arg(long, value_name = "MODEL", requires = "judge")]
    pub(crate) judge_model: Option<String>,
    /// What is spoken with it
    #[arg(long, value_enum, default_value = "openai-chat")]
    pub(crate) judge_api: ApiName,
    /// The key that is sent to it: env:VARIABLE or file:/path
    #[arg(long, value_name = "SOURCE")]
    pub(crate) judge_api_key: Option<String>,
    #[command(flatten)]
    pub(crate) data: Data,
    #[command(flatten)]
    pub(crate) operator: Operator,
    /// How the report is written
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: ModelReportFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ApiName {
    /// OpenAI's chat completions, and whatever speaks it
    OpenaiChat,
    /// OpenAI's responses
    OpenaiResponses,
    /// Anthropic's messages
    Anthropic,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ModelReportFormat {
    /// For people
    Text,
    /// Everything
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct EvalTracesOptions {
    /// Labelled sessions
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Measure each suite with a classifier that was trained on no text of it
    #[arg(long, requires = "train")]
    pub(crate) leave_one_suite_out: bool,
    /// Labelled texts to train on, as for `train`
    #[arg(long = "train", value_name = "FILE", requires = "leave_one_suite_out")]
    pub(crate) train: Vec<PathBuf>,
    /// Labelled texts that no model is trained on
    #[arg(long = "dev", value_name = "FILE", requires = "leave_one_suite_out")]
    pub(crate) dev: Vec<PathBuf>,
    /// Texts that every model is trained on and none is measured by: a file, or a directory of them
    #[arg(long = "always", value_name = "PATH", requires = "leave_one_suite_out")]
    pub(crate) always: Vec<PathBuf>,
    /// Name the sessions whose alarm and class differ, on standard error
    #[arg(long)]
    pub(crate) misses: bool,
    /// How the figures are written
    #[arg(long, value_enum, default_value = "table")]
    pub(crate) format: TracesFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TracesFormat {
    /// For people
    Table,
    /// All counts
    Json,
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
