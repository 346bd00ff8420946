//! The configuration of a session as text.

use std::fmt::Write as _;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use crate::config::{Config, PlainHttp};
use crate::limits::Limits;
use crate::record::describe::seconds;
use crate::record::lines::{Lines, Words, escaped, parsed, read_seconds, shown, unescaped, unescaped_text};
use crate::record::secrets::Secrets;
use crate::registries::entry::{Mirror, MirrorPulls, RegistryEntry};
use crate::types::reference::error::InvalidReference;
use crate::types::secret::Secret;
use crate::wire::percent;

const PLAIN_HTTP: [(PlainHttp, &str); 3] =
    [(PlainHttp::Never, "never"), (PlainHttp::Loopback, "loopback"), (PlainHttp::Always, "always")];

/// Adds the details of a configuration, with names in place of the logins of proxies.
pub(super) fn write(lines: &mut Lines, secrets: &mut Secrets, config: &Config) {
    let Config {
        limits,
        plain_http,
        registries,
        allow_private_addresses,
        token_servers,
        user_agent,
        headers,
        proxies,
    } = config;
    for (_, word) in PLAIN_HTTP.iter().filter(|(known, _)| known == plain_http) {
        lines.detail(&format!("plain_http {word}"));
    }
    for entry in registries.entries() {
        lines.detail(&format!("registry {}", entry_text(entry)));
    }
    if *allow_private_addresses {
        lines.detail("allow_private_addresses");
    }
    if let Some(servers) = token_servers {
        let servers = servers.iter().flat_map(|server| [" ", server.as_str()]);
        lines.detail(&format!("token_servers{}", servers.collect::<String>()));
    }
    if let Some(value) = user_agent {
        lines.detail(&format!("user_agent {}", escaped(value.as_bytes())));
    }
    for (registry, name, value) in headers.iter() {
        let value = secrets.name(&String::from_utf8_lossy(value.as_bytes()));
        lines.detail(&format!("header {} {name} {}", registry.as_str(), escaped(value.as_bytes())));
    }
    for url in proxies {
        let url = proxy(secrets, url.reveal());
        lines.detail(&format!("proxy {}", escaped(url.as_bytes())));
    }
    write_limits(lines, limits);
}

/// Reads a detail into a configuration.
pub(super) fn read(config: &mut Config, detail: &str) -> Result<(), String> {
    let (name, value) = detail.split_once(' ').unwrap_or((detail, ""));
    match name {
        "plain_http" => {
            let known = PLAIN_HTTP.iter().find(|(_, word)| *word == value);
            config.plain_http = known.ok_or("`plain_http` is never, loopback or always")?.0;
        }
        "allow_private_addresses" if value.is_empty() => config.allow_private_addresses = true,
        "token_servers" => {
            let servers = value.split_ascii_whitespace().map(|server| parsed(server, "a host"));
            config.token_servers = Some(servers.collect::<Result<_, _>>()?);
        }
        "registry" => config.registries.set(read_entry(value)?),
        "user_agent" => {
            let value = HeaderValue::from_bytes(&unescaped(value)?);
            config.user_agent = Some(value.map_err(|_| "`user_agent` is not a header value")?);
        }
        "header" => {
            let mut words = value.splitn(3, ' ');
            let mut next = || words.next().ok_or("`header` has a registry, a name and a value");
            let (registry, name, value) = (next()?, next()?, unescaped(next()?)?);
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| error.to_string())?;
            let value = HeaderValue::from_bytes(&value).map_err(|error| error.to_string())?;
            let registry = registry.parse().map_err(|error: InvalidReference| error.to_string())?;
            config.headers.insert(registry, name, value).map_err(|error| error.to_string())?;
        }
        "proxy" => config.proxies.push(Secret::from(unescaped_text(value)?)),
        "limit" => {
            let (name, value) = value.split_once(' ').unwrap_or((value, ""));
            read_limit(&mut config.limits, name, value)?;
        }
        other => return Err(format!("`{}` is not a setting", shown(other))),
    }
    Ok(())
}

/// Returns the text of an entry in the configuration of registries. Short names are not recorded, since references are
/// recorded in full.
fn entry_text(entry: &RegistryEntry) -> String {
    let RegistryEntry { prefix, location, insecure, blocked, mirrors } = entry;
    let mut text = prefix.to_string();
    if let Some(location) = location {
        let _ = write!(text, " location={location}");
    }
    for (flag, name) in [(insecure, "insecure"), (blocked, "blocked")] {
        if *flag {
            let _ = write!(text, " {name}");
        }
    }
    for Mirror { location, insecure, pulls } in mirrors {
        let insecure = if *insecure { ",insecure" } else { "" };
        let _ = write!(text, " mirror={location},{}{insecure}", pulls.as_str());
    }
    text
}

fn read_entry(text: &str) -> Result<RegistryEntry, String> {
    let mut words = Words::new(text);
    let mut entry = RegistryEntry::new(words.first("a prefix")?);
    if let Some(location) = words.option("location")? {
        entry = entry.location(location);
    }
    entry = entry.insecure(words.has("insecure")).blocked(words.has("blocked"));
    for mirror in words.all::<String>("mirror")? {
        let mut parts = mirror.split(',');
        let location = parsed(parts.next().unwrap_or_default(), "the location of a mirror")?;
        let pulls = parts.next().and_then(MirrorPulls::named);
        let pulls = pulls.ok_or("the pulls of a mirror are all, digest-only or tag-only")?;
        let insecure = parts.next() == Some("insecure");
        entry = entry.mirror(Mirror::new(location, pulls).insecure(insecure));
    }
    words.end()?;
    Ok(entry)
}

/// Returns the URL of a proxy with names in place of its login.
fn proxy(secrets: &mut Secrets, url: &str) -> String {
    let (scheme, rest) = url.split_once("://").map_or(("", url), |(scheme, rest)| (scheme, rest));
    // A password may contain any character.
    let Some((login, host)) = rest.rsplit_once('@') else { return url.to_owned() };
    let decoded = |text| percent::decode(text).unwrap_or(text.into()).into_owned();
    let shown = match login.split_once(':') {
        Some((user, password)) => {
            let name = secrets.name(&decoded(password));
            secrets.add_basic(&decoded(user), &decoded(password), &name);
            format!("{user}:{name}")
        }
        None => secrets.name(&decoded(login)),
    };
    let scheme = if scheme.is_empty() { String::new() } else { format!("{scheme}://") };
    format!("{scheme}{shown}@{host}")
}

trait Value: Sized {
    fn text(&self) -> String;

    fn read(text: &str) -> Result<Self, String>;
}

macro_rules! number {
    ($($number:ty),*) => {
        $(impl Value for $number {
            fn text(&self) -> String {
                self.to_string()
            }

            fn read(text: &str) -> Result<Self, String> {
                parsed(text, "a number that fits")
            }
        })*
    };
}

number!(u32, u64, usize);

impl Value for Duration {
    fn text(&self) -> String {
        seconds(*self)
    }

    fn read(text: &str) -> Result<Self, String> {
        read_seconds(text)
    }
}

macro_rules! limits {
    ($($name:ident),* $(,)?) => {
        fn write_limits(lines: &mut Lines, limits: &Limits) {
            let Limits { $($name),* } = limits;
            $(lines.detail(&format!("limit {} {}", stringify!($name), $name.text()));)*
        }

        fn read_limit(limits: &mut Limits, name: &str, value: &str) -> Result<(), String> {
            match name {
                $(stringify!($name) => limits.$name = Value::read(value)?,)*
                other => return Err(format!("`{}` is not a limit", shown(other))),
            }
            Ok(())
        }
    };
}

limits!(
    in_flight_per_origin,
    in_flight,
    manifest_bytes,
    layout_index_bytes,
    error_bytes,
    drain_bytes,
    blob_bytes,
    walk_depth,
    walk_nodes,
    walk_bytes,
    walk_ahead_bytes,
    list_pages,
    list_entries,
    list_bytes,
    error_entries,
    max_attempts,
    backoff_first,
    backoff_max,
    retry_after_max,
    token_bytes,
    tokens,
    challenges,
    chunk_bytes,
    redirects,
    warnings,
);

#[cfg(test)]
mod tests {
    use http::uri::Authority;

    use super::*;

    #[test]
    fn the_login_of_a_proxy_is_replaced() {
        for (url, shown) in [
            ("http://h:1", "http://h:1"),
            ("http://user:s3cret@h:1", "http://user:SECRET-1@h:1"),
            ("user:s3@s/3cret@h", "user:SECRET-1@h"),
            ("http://s3cret@h", "http://SECRET-1@h"),
        ] {
            assert_eq!(proxy(&mut Secrets::new(), url), shown);
        }
        let mut secrets = Secrets::new();
        let _ = proxy(&mut secrets, "http://user:s3%2Fcret@h:1");
        assert_eq!(secrets.text("s3/cret, s3%2Fcret, dXNlcjpzMy9jcmV0"), "SECRET-1, SECRET-1, SECRET-1");
    }

    #[test]
    fn a_configuration_is_read_back() {
        let mut config = Config {
            plain_http: PlainHttp::Always,
            allow_private_addresses: true,
            token_servers: Some(vec![
                Authority::from_static("auth.example"),
                Authority::from_static("b.example:1"),
            ]),
            user_agent: HeaderValue::from_bytes(b"a\xff \\").ok(),
            proxies: vec!["http://SECRET-1@h".into()],
            ..Config::default()
        };
        let (name, value) = (HeaderName::from_static("x-a"), HeaderValue::from_static("SECRET-2"));
        config.headers.insert("registry.example".parse().unwrap(), name, value).unwrap();
        for text in [
            "*.example.com/team insecure",
            "docker.io blocked",
            "r.example/a location=[::1]:5000/b mirror=m.example:1/c,digest-only,insecure mirror=n.example,all",
        ] {
            let entry = read_entry(text).unwrap();
            assert_eq!(entry_text(&entry), text);
            config.registries.set(entry);
        }
        config.limits.backoff_first = Duration::from_nanos(1_000_000_001);
        config.limits.warnings = 3;
        let mut lines = Lines::new("recording");
        write(&mut lines, &mut Secrets::new(), &config);
        let mut read_back = Config::default();
        for line in lines.0.lines().skip(1) {
            read(&mut read_back, &line[2..]).unwrap();
        }
        assert_eq!(format!("{read_back:?}"), format!("{config:?}"));
        assert_eq!(read_back.registries, config.registries);
        assert_eq!(read_back.proxies[0].reveal(), "http://SECRET-1@h");
        assert_eq!(read_back.headers, config.headers);
        for line in [
            "plain_http",
            "x 1",
            "limit x 1",
            "limit warnings -1",
            "limit backoff_max 1 s",
            "token_servers a/b",
            "registry r",
            "registry r.example mirror=m.example",
        ] {
            assert!(read(&mut read_back, line).is_err(), "{line}");
        }
    }
}
