//! `shoal image`: the images of the running node.

use std::process::ExitCode;

use super::arguments::{ImageCommand, ImageFlags};
use super::client;
use super::control::{self, Listed, Request};
use super::failure::Failure;
use super::started;

/// Runs the command.
pub fn run(flags: &ImageFlags) -> Result<ExitCode, Failure> {
    let settings = started::settings(flags.node.config.as_deref(), flags.node.data.as_deref())?;
    let request = match &flags.command {
        ImageCommand::Ls => Request::Images,
        ImageCommand::Import { archive } => {
            if !archive.is_file() {
                return Err(Failure::new(format!("there is no file {}", archive.display())));
            }
            Request::Import(std::path::absolute(archive)?)
        }
        ImageCommand::Rm { name } => Request::Remove(name.clone()),
    };
    let images = client::run(control::ask(&settings.run, &request))?;
    match &flags.command {
        ImageCommand::Ls => print(&images),
        ImageCommand::Import { .. } => {
            for name in images.iter().flat_map(|image| &image.names) {
                println!("{name} imported");
            }
        }
        ImageCommand::Rm { name } => println!("{name} removed"),
    }
    Ok(ExitCode::SUCCESS)
}

fn print(images: &[Listed]) {
    let width = images.iter().flat_map(|image| &image.names).map(String::len).max().unwrap_or(0).max(4);
    println!("{:<width$}   {:<12}   SIZE", "NAME", "ID");
    for image in images {
        let id: String = image.id.trim_start_matches("sha256:").chars().take(12).collect();
        for name in &image.names {
            println!("{name:<width$}   {id:<12}   {}", size(image.size_bytes));
        }
    }
}

fn size(bytes: u64) -> String {
    let units = [("Gi", 1u64 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)];
    let unit = units.iter().find(|(_, factor)| bytes >= *factor);
    unit.map_or_else(|| bytes.to_string(), |(unit, factor)| format!("{}{unit}", bytes / factor))
}
