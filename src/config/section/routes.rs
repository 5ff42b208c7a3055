//! `[[routes]]`: routes beside those of the vocabularies, or in their place. A list, so only a file can set it.
//!
//! What a route is and what can be wrong with it is `route`'s; here it becomes a finding with its line in the file.

use crate::config::finding::Findings;
use crate::config::{Config, SetBy};
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
pub fn compile(on: &[Vocabulary], config: &Config, set_by: &SetBy, findings: &mut Findings) -> Option<&'static Routes> {
    let services: Vec<&str> = config.services.iter().map(|service| service.common.name.as_str()).collect();
    match Routes::compile(on, &config.routes, &services) {
        Ok(routes) => {
            findings.note_at("vocabularies", set_by, told(on, &routes));
            routes.replaced().iter().for_each(|replaced| findings.note_at(LIST, set_by, replaced));
            Some(Box::leak(Box::new(routes)))
        }
        Err(errors) => {
            errors.iter().for_each(|error| findings.problem_at(LIST, set_by, error));
            None
        }
    }
}

/// Which vocabularies are on, and what of them comes to other clients.
fn told(on: &[Vocabulary], routes: &Routes) -> String {
    let names: Vec<&str> = on.iter().map(|vocabulary| vocabulary.name).collect();
    let reaching = routes.all().iter().filter(|route| route.action.reaches_others());
    let reaching: Vec<String> = reaching.map(|route| format!("{} ({})", route.kind, route.file)).collect();
    let reaching = if reaching.is_empty() { "none".to_owned() } else { reaching.join(", ") };
    format!("{} are on; messages that reach other clients: {reaching}", names.join(", "))
}
