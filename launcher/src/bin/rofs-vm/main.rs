// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `rofs-vm`: one file describes a microVM, one command runs it.
//!
//! Each subcommand is a file of its own, which parses nothing: clap does, from its `Args`.

mod check;
mod command;
mod console;
mod exec;
mod failure;
mod init;
mod install;
mod list;
mod logging;
mod named;
mod planned;
mod relay;
mod run;
mod sandbox;
mod schema;
mod start;
mod status;
mod stop;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Runs microVMs, each described by one file.
#[derive(Debug, Parser)]
#[command(
    name = "rofs-vm",
    version,
    subcommand_required = true,
    arg_required_else_help = true
)]
struct Cli {
    #[command(subcommand)]
    command: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Run(run::Args),
    Start(start::Args),
    Stop(stop::Args),
    Status(status::Args),
    List(list::Args),
    Console(console::Args),
    Exec(exec::Args),
    Sandbox(sandbox::Args),
    Check(check::Args),
    Command(command::Args),
    Schema(schema::Args),
    Init(init::Args),
    Install(install::Args),
    #[command(hide = true)]
    Relay(relay::Args),
}

fn main() -> ExitCode {
    // Wrong arguments end here, with code 2.
    let result = match Cli::parse().command {
        Action::Run(args) => run::run(args),
        Action::Start(args) => start::run(args),
        Action::Stop(args) => stop::run(args),
        Action::Status(args) => status::run(args),
        Action::List(args) => list::run(args),
        Action::Console(args) => console::run(args),
        Action::Exec(args) => exec::run(args),
        Action::Sandbox(args) => sandbox::run(args),
        Action::Check(args) => check::run(args),
        Action::Command(args) => command::run(args),
        Action::Schema(args) => schema::run(args),
        Action::Init(args) => init::run(args),
        Action::Install(args) => install::run(args),
        Action::Relay(args) => relay::run(args),
    };
    result.unwrap_or_else(|failure| failure.report())
}
