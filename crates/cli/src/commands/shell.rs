//! `peerless completions` and `peerless man`: for shells and packagers.

use std::io::{self, Write};

use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man as Page;

use crate::args::{self, EVERY_COMMAND};
use crate::exit::{self, Failure};
use crate::output;

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
    pub(crate) fn run(self) {
        // Into memory first: the generator panics on a closed pipe.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut args::Args::command(), "peerless", &mut script);
        output::print(&script);
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
        output::print(&manual().map_err(Failure::other)?);
        Ok(())
    }
}

/// One page, with a section for each command.
fn manual() -> io::Result<Vec<u8>> {
    let mut command = args::Args::command();
    command.build();
    let (overview, mut page) = (Page::new(command.clone()), Vec::new());
    overview.render_title(&mut page)?;
    overview.render_name_section(&mut page)?;
    overview.render_synopsis_section(&mut page)?;
    overview.render_description_section(&mut page)?;
    overview.render_options_section(&mut page)?;
    writeln!(page, ".SH COMMANDS")?;
    describe(&command, &mut page)?;
    writeln!(page, ".SH \"EXIT STATUS\"")?;
    notes(exit::HELP, &mut page)?;
    Ok(page)
}

/// A command's own subcommands, and theirs.
fn describe(command: &Command, page: &mut Vec<u8>) -> io::Result<()> {
    for command in command.get_subcommands().filter(|command| command.get_name() != "help") {
        let mut own = command.clone().mut_args(|arg| {
            let everywhere = arg.get_help_heading() == Some(EVERY_COMMAND);
            let hidden = everywhere || matches!(arg.get_id().as_str(), "help" | "version");
            arg.hide(hidden)
        });
        let usage = own.render_usage().to_string();
        let usage = usage.strip_prefix("Usage: ").unwrap_or(&usage);
        writeln!(page, ".SS \"{}\"\n{}", text(usage), text(&line(command.get_about())))?;
        let mut options = Vec::new();
        Page::new(own).render_options_section(&mut options)?;
        let options = String::from_utf8_lossy(&options);
        // Below a command's heading its groups of options are no sections of the page.
        page.extend_from_slice(options.replace(".SH ", ".PP\n.B ").as_bytes());
        notes(&line(command.get_after_help()), page)?;
        describe(command, page)?;
    }
    Ok(())
}

fn line(text: Option<&clap::builder::StyledStr>) -> String {
    text.map(ToString::to_string).unwrap_or_default()
}

/// Paragraphs are filled, indented lines stay as they are.
fn notes(paragraphs: &str, page: &mut Vec<u8>) -> io::Result<()> {
    for line in paragraphs.lines().filter(|line| !line.is_empty()) {
        if line.starts_with(' ') {
            writeln!(page, ".br\n.nf\n{}\n.fi", text(line))?;
        } else {
            writeln!(page, ".PP\n{}", text(line))?;
        }
    }
    Ok(())
}

/// A line of text, none of which is troff's to interpret.
fn text(line: &str) -> String {
    let line = line.replace('\\', "\\e").replace('-', "\\-").replace('"', "\\(dq");
    if line.starts_with(['.', '\'']) { format!("\\&{line}") } else { line }
}
