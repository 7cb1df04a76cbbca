//! `shoal authority`: the cluster's certificate authority.

use std::process::ExitCode;

use http::Method;
use serde_json::json;

use super::arguments::cluster::{AuthorityCommand, AuthorityFlags};
use super::client::resources::text;
use super::client::{self, JSON, Session};
use super::failure::Failure;

const ROTATE: &str = "/shoal/v1/authority/rotate";

/// Runs the command.
pub fn run(flags: &AuthorityFlags) -> Result<ExitCode, Failure> {
    client::run(async {
        let session = Session::open(&flags.client).await?;
        match flags.command {
            AuthorityCommand::Rotate => {
                let done = session.write(Method::POST, ROTATE, JSON, &json!({})).await?;
                println!("{}", text(&done, "/message"));
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}
