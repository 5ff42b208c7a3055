//! `[[routes]]`: routes beside those of the vocabularies, or in their place. A list, so only a file can set it.
//!
//! What a route is and what can be wrong with it is `route`'s; here it becomes a finding with its line in the file.

use std::collections::BTreeSet;

use crate::config::finding::Findings;
use crate::config::{Config, Key, Provenance, SetBy, Vocabularies};
use crate::route::{Definitions, Routes, Vocabulary};

/// Its name in the file.
pub const LIST: &str = "routes";

/// Reads the list out of the text of the whole file.
pub fn read(text: &str, set_by: &SetBy, findings: &mut Findings) -> Definitions {
    Definitions::read(&set_by.to_string(), text).unwrap_or_else(|error| {
        findings.problem(set_by, format_args!("line {}: {LIST}: {}", error.line, error.message));
        Definitions::default()
    })
}

/// Compiles everything that clients may say. It lives as long as the process; `None`: there are problems.
pub fn compile(
    on: &[Vocabulary],
    config: &Config,
    provenance: &Provenance,
    findings: &mut Findings,
) -> Option<&'static Routes> {
    let set_by = &provenance.lists;
    let services: Vec<&str> = config.services.iter().map(|service| service.common.name.as_str()).collect();
    match Routes::compile(on, &config.routes, &services, config.limits.channel_name_bytes) {
        Ok(routes) => {
            findings.note_at(Vocabularies::SECTION, chosen_by(provenance), told(on, &routes));
            routes.replaced().iter().for_each(|replaced| findings.note_at(LIST, set_by, replaced));
            Some(Box::leak(Box::new(routes)))
        }
        Err(errors) => {
            errors.iter().for_each(|error| findings.problem_at(LIST, set_by, error));
            None
        }
    }
}

/// What switched vocabularies on or off.
fn chosen_by(provenance: &Provenance) -> String {
    let keys = Vocabulary::ALL.iter().map(|vocabulary| Key::of(Vocabularies::SECTION, vocabulary.name));
    let set = keys.map(|key| provenance.of(key)).filter(|set_by| **set_by != SetBy::Default);
    let set: BTreeSet<String> = set.map(SetBy::to_string).collect();
    if set.is_empty() { SetBy::Default.to_string() } else { Vec::from_iter(set).join(", ") }
}

/// Which vocabularies are on, and what of them comes to other clients.
fn told(on: &[Vocabulary], routes: &Routes) -> String {
    let names: Vec<&str> = on.iter().map(|vocabulary| vocabulary.name).collect();
    let reaching = routes.all().iter().filter(|route| route.action.reaches_others());
    let reaching: Vec<String> = reaching.map(|route| format!("{} ({})", route.kind, route.file)).collect();
    let reaching = if reaching.is_empty() { "none".to_owned() } else { reaching.join(", ") };
    format!("{} are on; messages that reach other clients: {reaching}", names.join(", "))
}
