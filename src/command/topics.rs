//! `watchbell topics`: make the topics that Watchbell writes and reads, or look at them.
use clap::{Args, Subcommand};

use super::{ConfigArgs, Failure, output};
use crate::config::Config;
use crate::kafka::admin::{Admin, NewTopics};
use crate::kafka::client::{ClientError, Clients};

/// Make Watchbell's topics, or check those that exist.
#[derive(Args)]
pub(super) struct TopicsCommand {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Subcommand)]
enum Command {
    /// Make the topics that are missing. Those that exist are left as they are.
    Create {
        /// Partitions of each topic but the hold topics, which have one.
        #[arg(long, default_value_t = 12)]
        partitions: i32,
        /// Replicas of each partition.
        #[arg(long, default_value_t = 3)]
        replication: i32,
        /// Make upstream's event topics too: for tests and trials.
        #[arg(long)]
        with_upstreams: bool,
    },
    /// Tell everything about the topics that would not work.
    Check,
}

impl TopicsCommand {
    pub(super) fn run(self) -> Result<(), Failure> {
        let config = self.config.load()?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::internal)?;
        runtime.block_on(run(&config, &self.command))
    }
}

async fn run(config: &Config, command: &Command) -> Result<(), Failure> {
    let clients = Clients::new(config.kafka.clone())?;
    let credentials = config.credentials();
    let admin = Admin::new(&clients, &config.topics, credentials.iter().map(String::as_str));
    match *command {
        Command::Create { partitions, replication, with_upstreams } => {
            let made = admin.create(&NewTopics { partitions, replication, with_upstreams }).await?;
            for name in &made {
                output::line(format_args!("made {name}"))?;
            }
            output::line(format_args!("{} topics made; those that existed are as they were", made.len()))?;
        }
        Command::Check => {
            let mut problems = admin.problems().await?;
            problems.extend(admin.missing_of_api().await?);
            if !problems.is_empty() {
                return Err(Failure::Unavailable(problems.join("\n")));
            }
            let warnings = admin.session_warning().await.into_iter().chain(admin.unchecked());
            for warning in warnings.chain(admin.unread_holds().await) {
                output::line(format_args!("warning: {warning}"))?;
            }
            output::line("OK")?;
        }
    }
    Ok(())
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Config(_) | ClientError::Unsupported(_) => Self::Usage(error.to_string()),
            ClientError::Refused(_) | ClientError::Create(_) | ClientError::Unreachable { .. } => {
                Self::Unavailable(error.to_string())
            }
        }
    }
}
