//! Who asks for something by hand, as others read it in `status`.

/// The name of the user who runs the command.
pub(super) fn operator() -> String {
    let variables = ["SUDO_USER", "USER", "LOGNAME"];
    let named = variables.into_iter().find_map(|name| std::env::var(name).ok().filter(|user| !user.is_empty()));
    named.unwrap_or_else(|| format!("user {}", rustix::process::getuid().as_raw()))
}

/// Why a table is left out, with who has said so.
pub(super) fn skipped(reason: Option<&str>) -> String {
    let reason = reason.map_or(String::new(), |reason| format!(": {reason}"));
    format!("{} skipped it{reason}", operator())
}
