//! `watchbell openapi`: the API's description, for whoever generates clients from it.
use clap::Args;

use super::{Failure, output};
use crate::control;

/// Print the API's description (OpenAPI 3.1) as JSON.
#[derive(Args)]
pub(super) struct OpenapiCommand {}

impl OpenapiCommand {
    pub(super) fn run(self) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(&control::document()).map_err(Failure::internal)?;
        output::line(text)?;
        Ok(())
    }
}
