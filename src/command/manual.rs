//! What a shell and `man` know of the command line, made of its definition: `ringway completions`, `ringway man`.

use std::io::{self, Write};

use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;

use crate::cli::Cli;

/// The script that completes the command line in this shell.
pub fn completions(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut <Cli as CommandFactory>::command(), "ringway", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// The manual page, with all commands on it, as roff.
pub fn man() -> String {
    let mut page = Vec::new();
    let rendered = render(&mut page);
    debug_assert!(rendered.is_ok(), "a vector takes all that is written");
    String::from_utf8_lossy(&page).into_owned()
}

fn render(page: &mut Vec<u8>) -> io::Result<()> {
    let command = <Cli as CommandFactory>::command();
    let man = Man::new(command.clone());
    man.render_title(page)?;
    man.render_name_section(page)?;
    man.render_synopsis_section(page)?;
    man.render_description_section(page)?;
    man.render_options_section(page)?;
    writeln!(page, ".SH COMMANDS")?;
    for command in command.get_subcommands() {
        writeln!(page, ".SS {}", command.get_name())?;
        let man = Man::new(command.clone());
        let mut sections = Vec::new();
        man.render_description_section(&mut sections)?;
        man.render_options_section(&mut sections)?;
        // What is a section on a page of its own is a part of one here.
        for line in String::from_utf8_lossy(&sections).lines().filter(|line| !line.starts_with(".SH")) {
            writeln!(page, "{line}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;

    #[test]
    fn every_shell_completes_every_command() {
        for shell in Shell::value_variants() {
            let script = completions(*shell);
            for word in ["check-config", "print-config", "token", "doctor", "bench", "completions"] {
                assert!(script.contains(word), "{shell}: no {word}");
            }
        }
    }

    #[test]
    fn the_manual_names_every_command_and_flag() {
        let page = man();
        assert!(page.contains(".TH ringway 1"), "{page}");
        // A hyphen is escaped in roff.
        let plain = page.replace('\\', "");
        for word in
            ["check-config", "doctor", "bench", "--listen", "--user-type", "--connections", "RINGWAY_SECTION_KEY"]
        {
            assert!(plain.contains(word), "no {word} in {plain}");
        }
    }
}
