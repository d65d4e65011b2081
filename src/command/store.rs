//! `watchbell store`: work on the policy store from the command line.
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};

use super::{ConfigArgs, Failure, output};
use crate::config::Config;
use crate::seam::{Clock, SystemClock};
use crate::store::import::{self, FILE_BYTES_MAX, Format, Import};
use crate::store::{self, Announced, WriteError};

/// Work on the policy store.
#[derive(Args)]
pub(super) struct StoreCommand {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Subcommand)]
enum Command {
    /// Load workspaces, settings, preferences and devices from a file: all of it, or nothing.
    Import {
        /// TOML or JSON; the names are those of config/demo.toml.
        file: PathBuf,
        /// The file's format, where its name does not tell.
        #[arg(long, value_enum)]
        format: Option<FileFormat>,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum FileFormat {
    Toml,
    Json,
}

impl StoreCommand {
    pub(super) fn run(self) -> Result<(), Failure> {
        let config = self.config.load()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::internal)?;
        match self.command {
            Command::Import { file, format } => {
                let import = read(&file, format)?;
                runtime.block_on(write(&config, &file, &import))
            }
        }
    }
}

fn read(file: &Path, format: Option<FileFormat>) -> Result<Import, Failure> {
    let name = file.display();
    let format = match (format, file.extension().and_then(|extension| extension.to_str())) {
        (Some(FileFormat::Toml), _) | (None, Some("toml")) => Format::Toml,
        (Some(FileFormat::Json), _) | (None, Some("json")) => Format::Json,
        (None, _) => return Err(Failure::Usage(format!("{name}: is it TOML or JSON? Say so with --format"))),
    };
    let unreadable = |error: std::io::Error| Failure::Input(format!("{name}: {error}"));
    let mut text = String::new();
    let opened = std::fs::File::open(file).map_err(unreadable)?;
    let length = opened.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(unreadable)?;
    if length as u64 > FILE_BYTES_MAX {
        return Err(Failure::Input(format!("{name} is larger than {} MiB: split it", FILE_BYTES_MAX >> 20)));
    }
    import::read(&text, format, SystemClock.now()).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(|problem| format!("{name}: {problem}")).collect();
        Failure::Input(format!("nothing was imported.\n{}", lines.join("\n")))
    })
}

async fn write(config: &Config, file: &Path, import: &Import) -> Result<(), Failure> {
    let policy = store::open(&config.policy).await?;
    let written = policy.admin().write(&import.changes).await;
    policy.close().await;
    let announced = written.map_err(|error| match error {
        WriteError::Unavailable(unavailable) => Failure::Unavailable(unavailable.to_string()),
        WriteError::Refused(why) => Failure::Input(format!("{}: nothing was imported: {why}", file.display())),
    })?;
    let Import { workspaces, users, devices, .. } = import;
    output::line(format_args!("Imported {workspaces} workspaces, {users} people, {devices} devices."))?;
    match announced {
        Announced::Everywhere => {}
        Announced::NotYet => {
            let ttl = config.policy.ttl_s;
            output::line(format_args!(
                "Redis did not take the news: running workers use it after {ttl} s at the latest."
            ))?;
        }
    }
    Ok(())
}
