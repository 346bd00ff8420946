//! Removes passwords from text before it is shown.

/// Returns a reference as the user typed it, with any user name and password replaced by `***`, safe
/// for errors and logs.
///
/// ```
/// use oci_proto::without_user_info;
///
/// assert_eq!(without_user_info("https://me:secret@registry.example/app"), "https://***@registry.example/app");
/// assert_eq!(without_user_info("registry.example/app@sha256:12"), "registry.example/app@sha256:12");
/// ```
pub fn without_user_info(text: &str) -> String {
    let start = text.find("://").map_or(0, |at| at + 3);
    let (scheme, rest) = text.split_at(start);
    // Without a scheme, an `@` that no slash follows introduces a digest. A password may contain an `@`
    // too.
    let end = if start > 0 { rest.len() } else { rest.rfind('/').unwrap_or_default() };
    match rest[..end].rfind('@') {
        Some(at) => format!("{scheme}***{}", &rest[at..]),
        None => text.to_owned(),
    }
}
