//! What a transcript begins with: the session's settings, and its operations.

use oci_proto::{Config, Descriptor, OpId, PlainHttp, Reference, Session, WalkOptions};

use super::parse::Transcript;

/// Starts the operation that a `start` step describes.
///
/// # Errors
///
/// A word that cannot be understood.
pub fn start(session: &mut Session, rest: &str) -> Result<OpId, String> {
    let words: Vec<&str> = rest.split(' ').collect();
    let [verb, reference, options @ ..] = words.as_slice() else {
        return Err("start OPERATION REFERENCE".to_owned());
    };
    let reference: Reference = reference.parse().map_err(|e| format!("{e}"))?;
    let mut walk = WalkOptions::default();
    let mut size = None;
    let mut data = None;
    for option in options {
        match option.split_once('=').unwrap_or((option, "")) {
            ("blobs", _) => walk.blobs = true,
            ("strict", _) => walk.strict = true,
            ("platform", value) => walk.platform = Some(value.parse().map_err(|e| format!("{e}"))?),
            ("size", value) => size = Some(value.parse().map_err(|e| format!("{e}"))?),
            ("data", value) => data = Some(value.to_owned()),
            (other, _) => return Err(format!("`{other}` is no option")),
        }
    }
    Ok(match *verb {
        "resolve" => session.resolve(&reference, walk.platform.as_ref()),
        "manifest" => session.manifest(&reference, walk.platform.as_ref()),
        "walk" => session.walk(&reference, walk),
        "blob" => match data {
            None => session.blob(&reference, size),
            Some(data) => {
                let digest = reference.digest().ok_or("data belongs to a digest")?.clone();
                let media_type = "application/octet-stream".parse().map_err(|e| format!("{e}"))?;
                let size = size.unwrap_or(data.len() as u64);
                let mut descriptor = Descriptor::new(media_type, digest, size);
                descriptor.data = Some(data.into());
                session.described_blob(&reference, &descriptor)
            }
        },
        other => return Err(format!("`{other}` is no operation")),
    })
}

/// The settings that the `config` steps give.
pub(super) fn config(transcript: &Transcript) -> Result<Config, String> {
    let mut config = Config::default();
    for step in transcript.steps.iter().filter(|step| step.verb == "config") {
        let (key, value) = step.rest.split_once(' ').ok_or("config KEY VALUE")?;
        let number = || value.parse::<u32>().map_err(|e| format!("{value}: {e}"));
        let limits = &mut config.limits;
        match key {
            "in_flight" => limits.in_flight = number()? as usize,
            "in_flight_per_origin" => limits.in_flight_per_origin = number()? as usize,
            "manifest_bytes" => limits.manifest_bytes = number()?.into(),
            "blob_bytes" => limits.blob_bytes = number()?.into(),
            "walk_depth" => limits.walk_depth = number()?,
            "walk_nodes" => limits.walk_nodes = number()?.into(),
            "walk_bytes" => limits.walk_bytes = number()?.into(),
            "walk_ahead_bytes" => limits.walk_ahead_bytes = number()?.into(),
            "error_bytes" => limits.error_bytes = number()?.into(),
            "error_entries" => limits.error_entries = number()? as usize,
            "plain_http" => config.plain_http = plain_http(value)?,
            "user_agent" => {
                config.user_agent = Some(value.parse().map_err(|_| format!("`{value}` is no header value"))?);
            }
            other => return Err(format!("`{other}` is no setting")),
        }
    }
    Ok(config)
}

fn plain_http(value: &str) -> Result<PlainHttp, String> {
    match value {
        "never" => Ok(PlainHttp::Never),
        "loopback" => Ok(PlainHttp::Loopback),
        "always" => Ok(PlainHttp::Always),
        other => Err(format!("`{other}` is neither never, loopback nor always")),
    }
}
