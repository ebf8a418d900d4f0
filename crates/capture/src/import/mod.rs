//! Import of recorded agent traces, chat logs and OTLP files.
