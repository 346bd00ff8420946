//! WWW-Authenticate: the authentication challenges of a server.

use std::fmt;

use crate::header::cursor::{Cursor, MAX_ELEMENTS, is_tchar, write_quoted};
use crate::header::error::InvalidHeader;

/// An authentication challenge: a scheme, followed by parameters, one token68 value or nothing.
///
/// Source: RFC 9110, section 11.6.1 (the field), 11.2 and 11.3 (its elements).
///
/// ```
/// use oci_proto::header::Challenge;
///
/// let value = br#"Negotiate, Bearer realm="https://auth.example/token",service="registry.example""#;
/// let challenges = Challenge::parse(value)?;
/// let bearer = challenges.iter().find(|challenge| challenge.is("bearer")).unwrap();
/// assert_eq!(bearer.param("Realm"), Some("https://auth.example/token"));
/// # Ok::<(), oci_proto::header::InvalidHeader>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Challenge {
    /// In lower case.
    scheme: String,
    rest: Rest,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Rest {
    Token68(String),
    /// The names are in lower case and unique.
    Params(Vec<(String, String)>),
}

impl Challenge {
    /// Parses a field value: one or more challenges, separated by commas.
    ///
    /// The parser is lenient in one point: an unquoted parameter value may be empty, although the
    /// grammar requires at least one character.
    ///
    /// # Errors
    /// Fails if the value violates the grammar, if a challenge repeats a parameter, or if there are
    /// more than 64 challenges or more than 64 parameters in one challenge.
    pub fn parse(value: &[u8]) -> Result<Vec<Self>, InvalidHeader> {
        let mut challenges = Vec::new();
        parse_into(&mut challenges, value)?;
        Ok(challenges)
    }

    /// Parses the values of a repeated field, in order, each up to its first fault. Returns the challenges
    /// and the first fault.
    ///
    /// A challenge with a fault is returned if its scheme could be parsed, with the parameters before the
    /// fault. Servers send `Basic realm=/`, for example, whose realm has no meaning to a client. The limit of
    /// 64 challenges applies to all values together; if there are more, none is returned.
    pub fn parse_all<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Self>, Option<InvalidHeader>) {
        let mut challenges = Vec::new();
        let mut fault = None;
        for value in values {
            if let Err(error) = parse_into(&mut challenges, value) {
                if challenges.len() == MAX_ELEMENTS {
                    return (Vec::new(), Some(error));
                }
                fault = fault.or(Some(error));
            }
        }
        (challenges, fault)
    }

    /// Returns the scheme, in lower case.
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// Returns whether the challenge has this scheme, ignoring case.
    pub fn is(&self, scheme: &str) -> bool {
        self.scheme.eq_ignore_ascii_case(scheme)
    }

    /// Returns the value of a parameter, ignoring the case of its name.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Returns the parameters in order, with names in lower case.
    pub fn params(&self) -> impl Iterator<Item = (&str, &str)> {
        let params = match &self.rest {
            Rest::Params(params) => params.as_slice(),
            Rest::Token68(_) => &[],
        };
        params.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Replaces the token68 value or each parameter's value. `change` takes the parameter's name, if any, and
    /// the value.
    pub(crate) fn map(mut self, mut change: impl FnMut(Option<&str>, &str) -> String) -> Self {
        match &mut self.rest {
            Rest::Token68(token) => *token = change(None, token),
            Rest::Params(params) => {
                for (name, value) in params {
                    *value = change(Some(name), value);
                }
            }
        }
        self
    }

    /// Returns the token68 value that follows the scheme in place of parameters.
    pub fn token68(&self) -> Option<&str> {
        match &self.rest {
            Rest::Token68(token) => Some(token),
            Rest::Params(_) => None,
        }
    }
}

impl fmt::Display for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.scheme)?;
        if let Some(token) = self.token68() {
            write!(f, " {token}")?;
        }
        for (index, (name, value)) in self.params().enumerate() {
            f.write_str(if index == 0 { " " } else { ", " })?;
            write!(f, "{name}=")?;
            write_quoted(f, value)?;
        }
        Ok(())
    }
}

/// Adds the challenges before the first fault of a value.
///
/// Commas separate both challenges (`#challenge`) and the parameters within a challenge
/// (`#auth-param`). An element with an equals sign after its first token is a parameter of the
/// preceding challenge.
fn parse_into(challenges: &mut Vec<Challenge>, value: &[u8]) -> Result<(), InvalidHeader> {
    let mut cursor = Cursor::new("WWW-Authenticate", value);
    let first = challenges.len();
    loop {
        cursor.skip_commas();
        if cursor.is_at_end() {
            return Ok(());
        }
        let token = cursor.token();
        if token.is_empty() {
            return Err(cursor.error("expected a scheme or a parameter"));
        }
        if is_before_equals(&cursor) {
            let Some(challenge) = challenges.get_mut(first..).and_then(<[Challenge]>::last_mut) else {
                return Err(cursor.error("a parameter precedes any scheme"));
            };
            push_param(&mut cursor, challenge, token)?;
        } else {
            if challenges.len() == MAX_ELEMENTS {
                return Err(cursor.error("too many challenges"));
            }
            if !cursor.is_at_element_end() && !matches!(cursor.peek(), Some(b' ' | b'\t')) {
                return Err(cursor.error("a scheme contains an invalid character"));
            }
            challenges.push(Challenge { scheme: token.to_ascii_lowercase(), rest: Rest::Params(Vec::new()) });
            if let Some(challenge) = challenges.last_mut() {
                parse_after_scheme(&mut cursor, challenge)?;
            }
        }
        cursor.end_element()?;
    }
}

/// Parses the text between a scheme and the next comma.
fn parse_after_scheme(cursor: &mut Cursor<'_>, challenge: &mut Challenge) -> Result<(), InvalidHeader> {
    if cursor.is_at_element_end() {
        return Ok(());
    }
    cursor.skip_whitespace();
    let mut ahead = cursor.clone();
    let token68 = ahead.token68();
    if !token68.is_empty() && ahead.is_at_element_end() {
        *cursor = ahead;
        challenge.rest = Rest::Token68(token68.to_owned());
        return Ok(());
    }
    let name = cursor.token();
    if name.is_empty() || !is_before_equals(cursor) {
        return Err(cursor.error("expected a parameter name and an equals sign before this"));
    }
    push_param(cursor, challenge, name)
}

fn is_before_equals(cursor: &Cursor<'_>) -> bool {
    let mut ahead = cursor.clone();
    ahead.skip_whitespace();
    ahead.peek() == Some(b'=')
}

/// Parses a parameter, starting at its equals sign. One that is followed by a fault may be incomplete, and is
/// dropped.
fn push_param(cursor: &mut Cursor<'_>, challenge: &mut Challenge, name: &str) -> Result<(), InvalidHeader> {
    cursor.skip_whitespace();
    cursor.eat(b'=');
    cursor.skip_whitespace();
    let value = match cursor.peek() {
        Some(b'"') => cursor.quoted_string()?,
        _ => cursor.token().to_owned(),
    };
    // `Bearer service=,realm="x"`: the presumed token68 was a parameter without a value.
    if let Rest::Token68(token) = &challenge.rest
        && let Some(name) = token.strip_suffix('=')
        && name.bytes().all(is_tchar)
    {
        challenge.rest = Rest::Params(vec![(name.to_ascii_lowercase(), String::new())]);
    }
    let Rest::Params(params) = &mut challenge.rest else {
        return Err(cursor.error("a scheme has both a token and parameters"));
    };
    if params.iter().any(|(n, _)| n.eq_ignore_ascii_case(name)) {
        return Err(cursor.error("the parameter before this is a duplicate"));
    }
    if params.len() == MAX_ELEMENTS {
        return Err(cursor.error("too many parameters"));
    }
    if cursor.is_at_element_end() {
        params.push((name.to_ascii_lowercase(), value));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn printed(value: &str) -> Vec<String> {
        let challenges = Challenge::parse(value.as_bytes()).unwrap_or_else(|e| panic!("{value:?}: {e}"));
        challenges.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn parses_the_challenges_that_registries_send() {
        for (value, expected) in [
            (
                r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/ubuntu:pull""#,
                &[
                    r#"bearer realm="https://auth.docker.io/token", service="registry.docker.io", scope="repository:library/ubuntu:pull""#,
                ][..],
            ),
            (r#"Basic realm="Registry""#, &[r#"basic realm="Registry""#]),
            ("BASIC REALM=x", &[r#"basic realm="x""#]),
            (r#"Bearer realm="a, b=\"c\"""#, &[r#"bearer realm="a, b=\"c\"""#]),
        ] {
            assert_eq!(printed(value), expected, "{value}");
        }
    }

    #[test]
    fn several_challenges_may_share_a_value() {
        for (value, expected) in [
            (
                r#"Basic realm="a", Bearer realm="b", service="c""#,
                &[r#"basic realm="a""#, r#"bearer realm="b", service="c""#][..],
            ),
            ("Negotiate, NTLM ,Basic realm=x", &["negotiate", "ntlm", r#"basic realm="x""#]),
            ("Negotiate YWJj==, Basic a=b", &["negotiate YWJj==", r#"basic a="b""#]),
            ("Negotiate a/b+c~", &["negotiate a/b+c~"]),
            ("X y, Z", &["x y", "z"]),
        ] {
            assert_eq!(printed(value), expected, "{value}");
        }
        let lines = [&b"Basic realm=\"a\""[..], b"", b"Bearer realm=\"b\""];
        let (challenges, fault) = Challenge::parse_all(lines);
        assert_eq!((challenges.len(), fault), (2, None));
    }

    #[test]
    fn empty_elements_and_values_and_stray_whitespace_are_accepted() {
        for (value, expected) in [
            ("", &[][..]),
            (" , ,", &[]),
            (", Basic realm=x,, ,charset=y,", &[r#"basic realm="x", charset="y""#]),
            ("Basic ,realm=x", &[r#"basic realm="x""#]),
            ("Basic, realm=x", &[r#"basic realm="x""#]),
            ("Basic\trealm = \t x , a= \"\"", &[r#"basic realm="x", a="""#]),
            ("Bearer realm=x,service=,scope=y", &[r#"bearer realm="x", service="", scope="y""#]),
            ("Bearer service=,realm=x", &[r#"bearer service="", realm="x""#]),
            ("Bearer service=", &["bearer service="]),
        ] {
            assert_eq!(printed(value), expected, "{value:?}");
        }
    }

    #[test]
    fn names_are_case_insensitive() {
        let challenge = &Challenge::parse(b"BeArEr ReAlM=MiXed").unwrap()[0];
        assert!(challenge.is("Bearer") && challenge.is("bearer") && !challenge.is("basic"));
        assert_eq!(challenge.scheme(), "bearer");
        assert_eq!(challenge.param("REALM"), Some("MiXed"));
        assert_eq!(challenge.param("service"), None);
        assert_eq!(challenge.token68(), None);
    }

    #[test]
    fn rejects_values_outside_the_grammar() {
        for value in [
            &b"realm=x"[..],
            b"=x",
            b"Basic realm=\"x",
            b"Basic realm=\"x\\",
            b"Basic realm=\"x\"y",
            b"Basic realm=\"x\" service=\"y\"",
            b"Basic realm=x y",
            b"Basic realm=a/b",
            b"Basic a b",
            b"Basic a=b, A=c",
            b"Basic abc==, realm=x",
            b"Basic a/b=, realm=x",
            b"Basic \"x\"",
            b"Basic realm=\"\xff\"",
            b"Basic realm=\"\x07\"",
            b"Basic\x00",
            b"\xff",
            b"(Basic)",
        ] {
            assert!(Challenge::parse(value).is_err(), "{:?} was accepted", String::from_utf8_lossy(value));
        }
    }

    #[test]
    fn the_part_before_a_fault_is_returned() {
        for (value, expected) in [
            (&b"Basic realm=/"[..], &["basic"][..]),
            (b"Basic \"x\"", &["basic"]),
            (b"Basic a b", &["basic"]),
            (b"Negotiate, Basic realm=a/b, Bearer realm=c", &["negotiate", "basic"]),
            (b"Bearer realm=\"a\",service=\"b\",scope=\"c", &["bearer realm=\"a\", service=\"b\""]),
            // A part of a value is not the value.
            (b"Bearer realm=https://a", &["bearer"]),
            (b"Bearer realm=\"a\"b", &["bearer"]),
            (b"Bearer realm=a, realm=b, scope=c", &["bearer realm=\"a\""]),
            (b"Basic abc==, realm=x", &["basic abc=="]),
            (b"Basic\x00", &[]),
            (b"Basic(", &[]),
            (b"\xff, Basic", &[]),
            (b"realm=x, Basic", &[]),
        ] {
            let (challenges, fault) = Challenge::parse_all([value, b"Other"]);
            let printed: Vec<String> = challenges.iter().map(ToString::to_string).collect();
            let (last, before) = printed.split_last().unwrap();
            assert_eq!(
                (before, last.as_str()),
                (&*expected.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>(), "other")
            );
            assert_eq!(fault, Challenge::parse(value).err());
            assert!(fault.is_some());
        }
    }

    #[test]
    fn counts_are_bounded() {
        let challenges = |count: usize| "A, ".repeat(count);
        assert_eq!(printed(&challenges(64)).len(), 64);
        assert!(Challenge::parse(challenges(65).as_bytes()).is_err());
        let half = challenges(33);
        let (challenges, fault) = Challenge::parse_all([half.as_bytes(), half.as_bytes()]);
        assert_eq!((challenges.len(), fault.is_some()), (0, true));

        let params = |count: usize| (0..count).fold("A ".to_owned(), |all, n| format!("{all}p{n}=x,"));
        assert!(Challenge::parse(params(64).as_bytes()).is_ok());
        assert!(Challenge::parse(params(65).as_bytes()).is_err());
    }

    #[test]
    fn an_error_reports_its_position() {
        let error = Challenge::parse(b"Basic realm=\"x\" y").unwrap_err();
        assert_eq!(error.at(), 16);
    }
}
