//! Removes passwords from text before it is shown.

/// Returns a reference or URL as the user typed it, with any user name and password, and the query, replaced by
/// `***`, safe for errors and logs.
///
/// ```
/// use oci_proto::without_user_info;
///
/// assert_eq!(without_user_info("https://me:secret@registry.example/app"), "https://***@registry.example/app");
/// assert_eq!(without_user_info("me:secret@registry.example?token=x"), "***@registry.example?***");
/// assert_eq!(without_user_info("registry.example/app@sha256:12"), "registry.example/app@sha256:12");
/// ```
pub fn without_user_info(text: &str) -> String {
    let (text, query) = match text.split_once('?') {
        Some((text, _)) => (text, "?***"),
        None => (text, ""),
    };
    let start = text.find("://").map_or(0, |at| at + 3);
    let (scheme, rest) = text.split_at(start);
    // Without a scheme, an `@` that no slash follows may introduce a digest. A password may contain an `@` too.
    let end = if start > 0 { rest.len() } else { rest.rfind('/').unwrap_or_default() };
    let at = rest[..end].rfind('@').or_else(|| {
        let (user, after) = rest.rsplit_once('@')?;
        (user.contains(':') && !is_digest(after)).then_some(user.len())
    });
    match at {
        Some(at) => format!("{scheme}***{}{query}", &rest[at..]),
        None => format!("{text}{query}"),
    }
}

/// Whether a text after an `@` is meant as a digest.
fn is_digest(text: &str) -> bool {
    let algorithm = text.split(':').next().unwrap_or_default();
    ["sha256", "sha384", "sha512", "md5"].contains(&algorithm)
}
