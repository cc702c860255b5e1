//! `peerless completions` and `peerless man`: for shells and packagers.

use std::io::{self, Write};

use clap::CommandFactory;
use clap_complete::Shell;

use crate::args;
use crate::exit::Failure;

/// Print shell completions.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  peerless completions bash > /etc/bash_completion.d/peerless
  peerless completions zsh > ~/.zfunc/_peerless")]
pub(crate) struct Completions {
    /// Which shell.
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(self) -> Result<(), Failure> {
        // Into memory first: the generator panics on a closed pipe.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut args::Args::command(), "peerless", &mut script);
        io::stdout().write_all(&script).map_err(Failure::other)
    }
}

/// Print the manual in troff: `peerless man | man -l -`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  peerless man | man -l -
  peerless man > /usr/share/man/man1/peerless.1")]
pub(crate) struct Man {}

impl Man {
    pub(crate) fn run() -> Result<(), Failure> {
        let mut command = args::Args::command();
        command.build();
        let mut page = Vec::new();
        clap_mangen::Man::new(command.clone()).render(&mut page).map_err(Failure::other)?;
        // One page: every command's own section follows the overview.
        for command in command.get_subcommands().filter(|command| command.get_name() != "help") {
            let name = command.get_name().to_uppercase();
            let section = clap_mangen::Man::new(command.clone());
            page.extend_from_slice(format!(".SH {name}\n").as_bytes());
            section.render_description_section(&mut page).map_err(Failure::other)?;
            section.render_options_section(&mut page).map_err(Failure::other)?;
            section.render_extra_section(&mut page).map_err(Failure::other)?;
        }
        io::stdout().write_all(&page).map_err(Failure::other)
    }
}
