//! The command line. Each command's arguments live beside what it does.

use clap::{Parser, Subcommand};

use crate::commands::{
    check, create, demo, dht, edit, explain, get, handshake, info, move_torrent, network, peers,
    piece, rename, seed, share, shell, stream,
};
use crate::exit;

/// A BitTorrent client.
#[derive(Debug, Parser)]
#[command(name = "peerless", version, about, after_help = exit::HELP, propagate_version = true)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Over the options that every command has.
pub(crate) const EVERY_COMMAND: &str = "Every command";

/// What every command takes.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = EVERY_COMMAND)]
pub(crate) struct Global {
    /// Print JSON on stdout: one document, or one line for each event.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// No progress and no notes.
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Log on stderr; twice for more.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Get(get::Args),
    Stream(stream::Args),
    Explain(explain::Args),
    Seed(seed::Args),
    Share(share::Args),
    Create(create::Args),
    Edit(edit::Args),
    Check(check::Args),
    Info(info::Args),
    Peers(peers::Args),
    Piece(piece::Args),
    Handshake(handshake::Args),
    Dht(dht::Args),
    Network(network::Args),
    Move(move_torrent::Args),
    Rename(rename::Args),
    Demo(demo::Args),
    Completions(shell::Completions),
    Man(shell::Man),
}
