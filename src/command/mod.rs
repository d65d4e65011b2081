//! The command line: one file for each subcommand.
//!
//! The point: a subcommand is a struct of its arguments with a `run`, and every way to fail has an exit code that scripts and
//! orchestrators can tell apart ([`Failure`]).
//!
//! It deliberately decides nothing: what a command does is in the library's other modules.
mod api;
mod check_config;
mod demo;
mod emit;
mod failure;
mod follow;
mod frame;
mod migrate;
mod openapi;
mod output;
mod sandbox;
mod stop;
mod store;
mod topics;
mod worker;

pub use failure::Failure;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{Config, Problems};

/// Delivers security events from Kafka to the phones where people act on them.
#[derive(Parser)]
#[command(name = "watchbell", version, after_help = failure::EXIT_CODES, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Demo(demo::DemoCommand),
    Worker(worker::WorkerCommand),
    Api(api::ApiCommand),
    CheckConfig(check_config::CheckConfig),
    Migrate(migrate::MigrateCommand),
    Store(store::StoreCommand),
    Topics(topics::TopicsCommand),
    Emit(Box<emit::EmitCommand>),
    Decisions(follow::DecisionsCommand),
    Outcomes(follow::OutcomesCommand),
    Sandbox(sandbox::SandboxCommand),
    Openapi(openapi::OpenapiCommand),
}

impl Command {
    fn run(self) -> Result<(), Failure> {
        match self {
            Self::Demo(command) => command.run(),
            Self::Worker(command) => command.run(),
            Self::Api(command) => command.run(),
            Self::CheckConfig(command) => command.run(),
            Self::Migrate(command) => command.run(),
            Self::Store(command) => command.run(),
            Self::Topics(command) => command.run(),
            Self::Emit(command) => command.run(),
            Self::Decisions(command) => command.run(),
            Self::Outcomes(command) => command.run(),
            Self::Sandbox(command) => command.run(),
            Self::Openapi(command) => command.run(),
        }
    }
}

/// Where the configuration comes from.
#[derive(Args, Clone, Debug)]
pub(crate) struct ConfigArgs {
    /// A TOML file with what differs from the defaults; the environment (`WATCHBELL_<SECTION>__<KEY>`) outweighs it.
    #[arg(long, value_name = "FILE", env = "WATCHBELL_CONFIG", global = true)]
    config: Option<PathBuf>,
}

impl ConfigArgs {
    /// Checked for what every command needs.
    pub(crate) fn load(&self) -> Result<Config, Problems> {
        Config::load(self.config.as_deref(), environment())
    }

    /// Checked for what the worker needs too.
    pub(crate) fn load_for_worker(&self) -> Result<Config, Problems> {
        Config::load_for_worker(self.config.as_deref(), environment())
    }

    /// Checked for what the API needs too.
    pub(crate) fn load_for_api(&self) -> Result<Config, Problems> {
        Config::load_for_api(self.config.as_deref(), environment())
    }
}

/// Variables that are no text are nobody's configuration.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// Runs the command line and returns the exit code of the process.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let result = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli.command.run(),
        Err(error) => return failure::usage(&error),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
