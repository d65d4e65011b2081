//! `watchbell migrate`: bring the policy store to the version of this program.
use clap::Args;

use super::{ConfigArgs, Failure, output};
use crate::store::{self, OpenError};

/// Make or update the policy store's tables. Harmless when there is nothing to do; run it before the workers of a new version.
#[derive(Args)]
pub(super) struct MigrateCommand {
    /// After a backup was restored: give the store a new name, so that nothing Redis still holds of the newer state is used.
    #[arg(long)]
    after_restore: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

impl MigrateCommand {
    pub(super) fn run(self) -> Result<(), Failure> {
        let config = self.config.load()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::internal)?;
        let done = runtime.block_on(store::migrate(&config.policy, self.after_restore))?;
        if done.from == done.to {
            output::line(format_args!("The policy store is at version {} already.", done.to))?;
        } else {
            output::line(format_args!("The policy store went from version {} to {}.", done.from, done.to))?;
        }
        if self.after_restore {
            output::line("It has a new name: running workers start their caches anew within a minute.")?;
        }
        Ok(())
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Config(_) | OpenError::Url { .. } | OpenError::Redis(_) => Self::Usage(error.to_string()),
            OpenError::Unreachable(_)
            | OpenError::Unmigrated { .. }
            | OpenError::Newer { .. }
            | OpenError::Altered(_)
            | OpenError::InUse { .. }
            | OpenError::Migration(_) => Self::Unavailable(error.to_string()),
        }
    }
}
