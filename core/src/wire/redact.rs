//! Redaction of secrets that a server repeats.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::ops::{Bound, Range};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use http::{HeaderValue, Uri};

use crate::header::url::{MARK, UrlKind, redact_all, secret_values};
use crate::wire::percent;

/// What requests have shown to servers: Authorization headers, and URLs whose queries may hold secrets.
///
/// Servers and proxies in debug mode repeat the request in their response, and parts of responses become
/// parts of errors and events that are displayed. The [`Forms`] of the secrets are computed only when a text
/// is redacted, so that a request that succeeds costs little.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Redactor(Option<Box<Shown>>);

#[derive(Clone, Debug, Default, PartialEq)]
struct Shown {
    headers: VecDeque<HeaderValue>,
    urls: VecDeque<(Uri, UrlKind)>,
    /// Of headers that the caller has configured, who limits their number.
    values: Vec<HeaderValue>,
}

/// The number of Authorization headers, and of URLs, that are remembered. The oldest is dropped.
const MAX_SHOWN: usize = 16;

impl Redactor {
    /// The number of values in a query that are recognized. Signed URLs have about ten.
    const MAX_VALUES: usize = 64;

    /// Adds what a request shows.
    pub(crate) fn add(&mut self, authorization: Option<&HeaderValue>, uri: &Uri, kind: UrlKind) {
        if let Some(header) = authorization {
            self.add_header(header);
        }
        if uri.query().is_some() {
            push_new(&mut self.0.get_or_insert_default().urls, &(uri.clone(), kind));
        }
    }

    /// Adds an Authorization header.
    pub(crate) fn add_header(&mut self, header: &HeaderValue) {
        push_new(&mut self.0.get_or_insert_default().headers, header);
    }

    /// Adds the value of a configured header, all of which is secret.
    pub(crate) fn add_value(&mut self, value: &HeaderValue) {
        self.0.get_or_insert_default().values.push(value.clone());
    }

    /// Returns all forms of the secrets.
    pub(crate) fn forms(&self) -> Forms {
        let mut forms = Vec::new();
        let Some(shown) = &self.0 else { return Forms::default() };
        for header in &shown.headers {
            let Some((scheme, shown)) = header.to_str().ok().and_then(|text| text.split_once(' ')) else {
                continue;
            };
            push_forms(&mut forms, shown);
            if scheme == "Basic"
                && let Some(login) =
                    STANDARD.decode(shown).ok().and_then(|bytes| String::from_utf8(bytes).ok())
                && let Some((_, password)) = login.split_once(':')
            {
                push_forms(&mut forms, password);
                push_forms(&mut forms, shown.trim_end_matches('='));
            }
        }
        for (uri, kind) in &shown.urls {
            for value in secret_values(uri, *kind).take(Self::MAX_VALUES) {
                push_forms(&mut forms, value);
            }
        }
        for value in &shown.values {
            push_forms(&mut forms, &String::from_utf8_lossy(value.as_bytes()));
        }
        forms.sort_unstable();
        forms.dedup();
        forms.into_iter().collect()
    }
}

/// Adds a value unless it is known.
fn push_new<T: Clone + PartialEq>(known: &mut VecDeque<T>, value: &T) {
    if known.contains(value) {
        return;
    }
    if known.len() == MAX_SHOWN {
        known.pop_front();
    }
    known.push_back(value.clone());
}

/// The length in bytes of the shortest form that is redacted. Shorter ones would match ordinary words by chance and are
/// too short to be secrets.
const MIN_LEN: usize = 4;

/// The length of a part of a secret that does not occur by chance.
const PART_LEN: usize = 16;

/// Replaces places in a text. Of places that overlap, the first and longest is replaced, with all of them.
pub(crate) fn replace(text: &str, mut places: Vec<(Range<usize>, &str)>) -> String {
    places.sort_by_key(|(place, _)| (place.start, Reverse(place.end)));
    let (mut replaced, mut at) = (String::with_capacity(text.len()), 0);
    for (Range { start, end }, name) in places {
        if start >= at {
            replaced.push_str(text.get(at..start).unwrap_or_default());
            replaced.push_str(name);
        }
        at = at.max(end);
    }
    replaced.push_str(text.get(at..).unwrap_or_default());
    replaced
}

/// Appends the forms in which texts repeat a secret, in lower case: verbatim, with percent-encoding or
/// without, escaped as in Rust, JSON or HTML, or in Base64.
pub(crate) fn push_forms(forms: &mut Vec<String>, secret: &str) {
    let decoded = percent::decode(secret).unwrap_or_default().into_owned();
    let mut all = vec![secret.to_owned(), decoded, secret.escape_debug().to_string()];
    all.extend(url_forms(secret));
    if secret.len() >= MIN_LEN {
        all.extend([STANDARD_NO_PAD.encode(secret), URL_SAFE_NO_PAD.encode(secret)]);
    }
    if secret.contains(|c: char| !c.is_ascii() || c.is_ascii_control() || ESCAPED.contains(c)) {
        all.extend(json_forms(secret).into_iter().chain(html_forms(secret)));
    }
    forms.extend(all.iter().filter(|form| form.len() >= MIN_LEN).map(|form| form.to_ascii_lowercase()));
}

/// The printable ASCII characters that an encoder of JSON or HTML may escape.
const ESCAPED: &str = r#"\/"'&<>+`"#;

/// Returns a secret with percent-encoding as in requests, without its exceptions, as in paths, as in
/// JavaScript, and as in forms.
fn url_forms(secret: &str) -> [String; 5] {
    let mut encoded = String::new();
    percent::push_pair(&mut encoded, "", secret);
    let encoded = encoded.split_off(1);
    let strict = encoded.replace(':', "%3A").replace('/', "%2F").replace(',', "%2C");
    let kept = [("%21", "!"), ("%27", "'"), ("%28", "("), ("%29", ")"), ("%2A", "*")];
    let script = kept.iter().fold(strict.clone(), |text, (code, c)| text.replace(code, c));
    let path = strict.replace("%2F", "/");
    let form = strict.replace("%20", "+");
    [encoded, strict, path, script, form]
}

/// Returns a secret as encoders of JSON in several languages escape it.
fn json_forms(secret: &str) -> [String; 7] {
    // JavaScript, Python, PHP; Go; encoders for use in HTML, of which the last is that of .NET.
    [
        ("", false, false),
        ("", true, false),
        ("", true, true),
        ("&<>", false, false),
        ("&<>'", false, false),
        ("&<>'\"", true, true),
        ("&<>'\"+`", true, false),
    ]
    .map(|(escaped, only_ascii, slash)| {
        let mut form = String::new();
        for c in secret.chars() {
            match c {
                '"' | '\\' if !escaped.contains(c) => form.extend(['\\', c]),
                '/' if slash => form.push_str("\\/"),
                '\n' => form.push_str("\\n"),
                '\r' => form.push_str("\\r"),
                '\t' => form.push_str("\\t"),
                _ if c.is_ascii_control() || escaped.contains(c) || only_ascii && !c.is_ascii() => {
                    form.extend(c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")));
                }
                _ => form.push(c),
            }
        }
        form
    })
}

/// Returns a secret as encoders of HTML in several languages escape it.
fn html_forms(secret: &str) -> impl Iterator<Item = String> {
    let escaped = secret.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let quotes = ["\"", "&quot;", "&#34;", "&#x22;"];
    let apostrophes = ["'", "&#39;", "&#039;", "&#x27;", "&apos;"];
    quotes.into_iter().flat_map(move |double| {
        let escaped = escaped.replace('"', double);
        apostrophes.map(|single| escaped.replace('\'', single))
    })
}

/// The forms in which texts may contain secrets, in lower case, indexed so that the time of a search does not
/// depend on their number and length.
#[derive(Clone, Default)]
pub(crate) struct Forms {
    all: Vec<String>,
    /// The forms by their first bytes, at most as many as a part has.
    begins: BTreeMap<Vec<u8>, usize>,
    /// The forms by their last bytes, in reverse order.
    ends: BTreeMap<Vec<u8>, usize>,
    /// The adjacent parts of long forms, with the form and the part's start in it.
    parts: BTreeMap<[u8; PART_LEN], Vec<(usize, usize)>>,
}

impl FromIterator<String> for Forms {
    fn from_iter<I: IntoIterator<Item = String>>(all: I) -> Self {
        let mut forms = Self::default();
        all.into_iter().for_each(|form| forms.add(form));
        forms
    }
}

impl Forms {
    /// Adds a form, in lower case.
    pub(crate) fn add(&mut self, form: String) {
        let (id, bytes) = (self.all.len(), form.as_bytes());
        self.begins.entry(bytes.iter().take(PART_LEN).copied().collect()).or_insert(id);
        self.ends.entry(bytes.iter().rev().take(PART_LEN).copied().collect()).or_insert(id);
        let last = bytes.len().saturating_sub(PART_LEN);
        for start in (0..last).step_by(PART_LEN).chain([last]) {
            let Some(part) = bytes[start..].first_chunk() else { continue };
            let same = self.parts.entry(*part).or_default();
            // Of a part that a form repeats, the first and the last are enough.
            if let [.., (first, _), (second, at)] = &mut same[..]
                && (*first, *second) == (id, id)
            {
                *at = start;
            } else {
                same.push((id, start));
            }
        }
        self.all.push(form);
    }

    /// Redacts the secrets in a text, also in other forms, in other case or cut off, and the URLs in it.
    pub(crate) fn hide(&self, text: &str) -> String {
        let places = self.places(&text.to_ascii_lowercase());
        redact_all(&replace(text, places.into_iter().map(|(place, _)| (place, MARK)).collect()))
    }

    /// Returns the places of secrets in a text in lower case, with their forms: whole secrets, long parts of
    /// them, and their beginning or end where the text is cut off.
    pub(crate) fn places(&self, text: &str) -> Vec<(Range<usize>, &str)> {
        let bytes = text.as_bytes();
        let mut places = Vec::new();
        for at in 0..bytes.len() {
            let rest = &bytes[at..];
            let begins =
                rest.first_chunk::<MIN_LEN>().into_iter().flat_map(|key| starting(&self.begins, key));
            let whole = begins.filter(|(begin, _)| rest.starts_with(begin));
            places.extend(whole.map(|(begin, id)| (at..at + begin.len(), id)));
            for (id, start) in self.parts_at(rest) {
                let (before, after) = self.all[id].as_bytes().split_at(start);
                let before = common(before.iter().rev(), bytes[..at].iter().rev());
                places.push((at - before..at + common(after.iter(), rest.iter()), id));
            }
        }
        // Excerpts are cut off with dots; a longer message loses its middle. What is longer than a part is
        // found above.
        for cut in text.match_indices("...").map(|(at, _)| at).chain([bytes.len()]) {
            let lengths = (MIN_LEN..=PART_LEN.min(cut)).rev();
            let mut found = lengths.map(|length| cut - length..cut);
            let found = found
                .find_map(|place| Some((place.clone(), starting(&self.begins, &bytes[place]).next()?.1)));
            places.extend(found);
        }
        for (at, dots) in text.match_indices("... ") {
            let start = at + dots.len();
            let lengths = (MIN_LEN..=PART_LEN.min(bytes.len() - start)).rev();
            let found = lengths.map(|length| start..start + length).find_map(|place| {
                let end: Vec<_> = bytes[place.clone()].iter().rev().copied().collect();
                Some((place, starting(&self.ends, &end).next()?.1))
            });
            places.extend(found);
        }
        for (place, _) in &mut places {
            // A part may begin or end within a character.
            while !text.is_char_boundary(place.start) {
                place.start -= 1;
            }
            while !text.is_char_boundary(place.end) {
                place.end += 1;
            }
        }
        places.into_iter().map(|(place, id)| (place, self.all[id].as_str())).collect()
    }

    /// Returns the forms with the part with which `text` begins, and its start in them.
    fn parts_at(&self, text: &[u8]) -> impl Iterator<Item = (usize, usize)> {
        text.first_chunk().and_then(|part| self.parts.get(part)).into_iter().flatten().copied()
    }
}

/// Returns the entries whose keys start with `key`.
fn starting<'a>(map: &'a BTreeMap<Vec<u8>, usize>, key: &[u8]) -> impl Iterator<Item = (&'a [u8], usize)> {
    map.range::<[u8], _>((Bound::Included(key), Bound::Unbounded))
        .map(|(found, id)| (found.as_slice(), *id))
        .take_while(move |(found, _)| found.starts_with(key))
}

/// Returns the number of equal bytes at the start of both.
fn common<'a>(a: impl Iterator<Item = &'a u8>, b: impl Iterator<Item = &'a u8>) -> usize {
    a.zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_header(value: &str) -> Redactor {
        let mut redactor = Redactor::default();
        redactor.add_header(&value.parse().unwrap());
        redactor
    }

    #[track_caller]
    fn check(redactor: &Redactor, cases: &[(&str, &str)]) {
        for (said, shown) in cases {
            assert_eq!(redactor.forms().hide(said), *shown, "{said}");
        }
    }

    #[test]
    fn a_secret_is_redacted_in_every_form_that_the_server_saw() {
        let said = "Authorization: Basic dXNlcjpodW50ZXIy is user:hunter2, or application/vnd.HUNTER2";
        let shown = "Authorization: Basic REDACTED is user:REDACTED, or application/vnd.REDACTED";
        check(&of_header("Basic dXNlcjpodW50ZXIy"), &[(said, shown)]);
        check(
            &of_header("Bearer abc.def"),
            &[
                ("abc.def? abc!", "REDACTED? abc!"),
                ("It was abc.de", "It was REDACTED"),
                ("`It was abc.d...`", "`It was REDACTED...`"),
                ("It... c.def was", "It... REDACTED was"),
                ("It was abc", "It was abc"),
                ("abc.defabc.def", "REDACTEDREDACTED"),
            ],
        );
        // The password is x/y"z.
        check(
            &of_header("Basic dTp4L3kieg=="),
            &[(r#"x/y"z, x/y%22z or x/y\"z of dTp4L3kieg"#, "REDACTED, REDACTED or REDACTED of REDACTED")],
        );
    }

    #[test]
    fn a_secret_is_redacted_as_other_programs_escape_it() {
        let of_password = |password: &str| {
            let login = STANDARD.encode(format!("user:{password}"));
            of_header(&format!("Basic {login}"))
        };
        let redactor = of_password(r#"Pa&ss"w<o>rd'\/"#);
        for said in [
            r"Pa&amp;ss&quot;w&lt;o&gt;rd&#39;\/",
            r"Pa&amp;ss&#34;w&lt;o&gt;rd&#39;\/",
            r"Pa&amp;ss&quot;w&lt;o&gt;rd&apos;\/",
            r"Pa&amp;ss&#x22;w&lt;o&gt;rd&#x27;\/",
            r#"Pa&amp;ss"w&lt;o&gt;rd'\/"#,
            r#"Pa&ss\"w<o>rd'\\/"#,
            r#"Pa&ss\"w<o>rd'\\\/"#,
            r#"Pa\u0026ss\"w\u003co\u003erd'\\/"#,
            r#"Pa\u0026ss\"w\u003Co\u003Erd\u0027\\/"#,
            r"Pa\u0026ss\u0022w\u003Co\u003Erd\u0027\\/",
            "UGEmc3MidzxvPnJkJ1wv",
        ] {
            check(&redactor, &[(&format!("({said})"), "(REDACTED)")]);
        }
        let redactor = of_password("it's (a/b:c, d!)");
        for said in [
            "it%27s%20%28a/b:c,%20d%21%29",
            "it%27s%20%28a%2Fb%3Ac%2C%20d%21%29",
            "it%27s%20%28a/b%3Ac%2C%20d%21%29",
            "it's%20(a%2fb%3ac%2c%20d!)",
            "it%27s+%28a%2Fb%3Ac%2C+d%21%29",
        ] {
            check(&redactor, &[(&format!("[{said}]"), "[REDACTED]")]);
        }
        let redactor = of_password("\u{e9}\u{1f600}\u{3}\n?>");
        for said in [r"\u00e9\ud83d\ude00\u0003\n?>", "w6nwn5iAAwo/Pg", "w6nwn5iAAwo_Pg"] {
            check(&redactor, &[(&format!("({said})"), "(REDACTED)")]);
        }
    }

    #[test]
    fn long_parts_of_a_secret_are_redacted() {
        let token = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIHZlcnkgbG9uZyBuYW1lIiwiaWF0IjoxNTE2MjM5MDIyfQ.";
        let redactor = of_header(&format!("Bearer {token}"));
        for part in [&token[..16], &token[token.len() - 16..], &token[3..40], &token[..70]] {
            check(&redactor, &[(&format!("a {part}\u{e9}"), "a REDACTED\u{e9}")]);
        }
        check(&redactor, &[("eyJhbGciOiJub25", "REDACTED"), ("eyJhbGciOiJub25!", "eyJhbGciOiJub25!")]);
        // The secret ends with the first byte of the character that follows its part.
        let mut redactor = Redactor::default();
        redactor.add(None, &"https://h/?a=0123456789abcdef%C3%A9".parse().unwrap(), UrlKind::Other);
        check(&redactor, &[("0123456789abcdef\u{e8}", "REDACTED"), ("\u{e8}", "\u{e8}")]);
    }

    #[test]
    fn a_search_does_not_depend_on_the_length_of_secrets() {
        let text = "a".repeat(300);
        for length in [40, 400, 40_000] {
            // A part of it is repeated as often as the length allows.
            let forms = of_header(&format!("Bearer {}", "a".repeat(length))).forms();
            assert_eq!(forms.hide(&text), "REDACTED");
            let compared: usize =
                (0..text.len()).map(|at| forms.parts_at(&text.as_bytes()[at..]).count()).sum();
            assert!(compared <= 2 * text.len() * forms.all.len(), "{compared} of {length}");
        }
    }

    #[test]
    fn the_query_values_of_a_signed_url_are_redacted() {
        for (uri, said, hidden) in [
            ("https://h/a?sig=x%2Fyz%3d&e=300", "x%2Fyz%3d is x/yz= for 300", "REDACTED is REDACTED for 300"),
            ("https://h/a?signature", "no signature", "no REDACTED"),
            ("https://h/a?a=twice&b=twicetwice", "twicetwice, twice", "REDACTED, REDACTED"),
            ("https://h/a?a=one;two&service=name", "one;two of name", "REDACTED of REDACTED"),
        ] {
            let mut redactor = Redactor::default();
            redactor.add(None, &uri.parse().unwrap(), UrlKind::Other);
            check(&redactor, &[(said, hidden)]);
        }
        let mut redactor = Redactor::default();
        let uri = "https://h/t?scope=repository:a:pull&service=host&k=value".parse().unwrap();
        redactor.add(None, &uri, UrlKind::TokenRequest);
        check(&redactor, &[("host: repository:a:pull, value", "host: repository:a:pull, REDACTED")]);
    }

    #[test]
    fn short_values_are_not_redacted() {
        for shown in ["Basic dXNlcjo=", "Basic dXNlcjpubw==", "Bearer abc"] {
            check(&of_header(shown), &[("no abc", "no abc")]);
        }
        check(&of_header("Basic dTphImI="), &[(r#"a"b or a%22b"#, r#"a"b or REDACTED"#)]);
        check(&Redactor::default(), &[("no", "no"), ("", "")]);
    }

    #[test]
    fn the_newest_secrets_are_remembered() {
        let mut redactor = Redactor::default();
        for number in 1000..1100 {
            let uri = format!("https://h/?a=signature-{number}").parse().unwrap();
            let header = format!("Bearer token-{number}").parse().unwrap();
            redactor.add(Some(&header), &uri, UrlKind::Other);
            redactor.add_header(&header);
        }
        check(&redactor, &[("signature-1099, token-1099", "REDACTED, REDACTED")]);
        // A URL that is requested again and again does not displace others.
        let again = "https://h/?a=signature-1099".parse().unwrap();
        (0..100).for_each(|_| redactor.add(None, &again, UrlKind::Other));
        check(&redactor, &[("signature-1090", "REDACTED")]);
        let shown = redactor.0.unwrap();
        assert_eq!((shown.headers.len(), shown.urls.len()), (MAX_SHOWN, MAX_SHOWN));
    }
}
