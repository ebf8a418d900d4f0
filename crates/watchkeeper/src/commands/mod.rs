//! What each command does.

mod canary;
mod coverage;
mod demo;
mod drill;
mod egress;
mod eval_model;
mod eval_traces;
mod evidence;
mod explain;
mod hook;
mod import;
mod import_rules;
mod inspector;
mod intel;
mod jsonl;
mod keys;
mod learning;
mod lifecycle;
mod mcp;
mod picture;
mod playing;
mod read;
mod reads;
mod recover;
mod replay;
mod rules;
mod run;
mod serve;
mod setup;
mod status;
mod text;
mod told;
mod verify;
mod witness;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::CommandFactory as _;
use server::lifecycle::Erasure;
use server::lifecycle::verify::Depth;

use self::verify::Reach;
use crate::cli::{Canary, Cli, Command};

/// Runs the command. Errors that it returns end in exit code 2.
pub(crate) fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Serve { data, config, any_port } => serve::serve(&data, config.as_deref(), any_port),
        Command::Demo { dir, root, exit } => demo::demo(dir, &root, exit),
        Command::Drill(options) => drill::drill(&options),
        Command::Mcp(args) => mcp::mcp(&args),
        Command::Import { data, config, files, format } => import::import(&data, config.as_deref(), &files, format),
        Command::Query { data, reading, sql, format } => read::query(&data, reading, &sql, format.format),
        Command::Search { data, reading, text, limit, format } => read::search(&data, reading, &text, limit, format.format),
        Command::Trace { data, reading, id, full, format } => read::trace(&data, reading, &id, full, format.format),
        Command::Tail { data, follow, lines, format } => read::tail(&data, follow, lines, format.format),
        Command::Status { data, format } => status::status(&data, format.format),
        Command::Reads { data, who, days, format } => reads::reads(&data, who.as_deref(), days, format.format),
        Command::Hook(options) => hook::hook(&options),
        Command::Run(options) => run::run(&options),
        Command::Setup(options) => setup::setup(&options),
        Command::Inspect { file, channel, signatures } => text::inspect(&file, &channel, &signatures),
        Command::Sanitize { file, config, data } => text::sanitize(&file, &data, config.as_deref()),
        Command::Detect { rules, events } => rules::detect(&rules, &events),
        Command::Rules(command) => rules::rules(command),
        Command::Intel(command) => intel::intel(*command),
        Command::Train(options) => learning::train(&options),
        Command::Eval(command) => learning::eval(&command),
        Command::Canary(Canary::New { label }) => canary::new(label),
        Command::Verify { target, data, key, checkpoint, policy, tsa_roots, digests, public, strict, config, json } => {
            let trust = verify::trust(key.as_deref(), policy.as_deref(), tsa_roots.as_deref())?;
            let saying = verify::Saying { strict, json };
            let (target, reach) = match (public, digests) {
                (Some(Some(place)), _) if target.is_some() || !verify::is_data_dir(&place) => {
                    let here = target.or(data.dir);
                    return verify::published(&place, here.as_deref(), &trust, checkpoint.as_deref(), config.as_deref(), saying);
                }
                (Some(place), _) => (place.map(PathBuf::from).or(target), Reach::Public),
                (None, true) => (target, Reach::Decrypted(Depth::Digests)),
                (None, false) => (target, Reach::Decrypted(Depth::Records)),
            };
            verify::verify(target, &data, &trust, checkpoint.as_deref(), reach, config.as_deref(), saying)
        }
        Command::Ledger(command) => lifecycle::ledger(command),
        Command::Witness(command) => witness::witness(command),
        Command::Erase { data, operator, subject, alias, reference, wide, config, format } => {
            let erasure = Erasure { subject, aliases: alias, reference, wide };
            lifecycle::erase(&data, &operator, &erasure, config.as_deref(), format.format)
        }
        Command::Hold(command) => lifecycle::hold(command),
        Command::Retention(command) => lifecycle::retention(command),
        Command::Restore { data, operator, from, to, format } => lifecycle::restore(&data, &operator, &from, &to, format.format),
        Command::Recover(command) => recover::recover(command),
        Command::Evidence(command) => evidence::evidence(command),
        Command::Egress(command) => egress::egress(command),
        Command::Keys(command) => keys::keys(command),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "watchkeeper", &mut crate::output::stdout());
            Ok(ExitCode::SUCCESS)
        }
    }
}
