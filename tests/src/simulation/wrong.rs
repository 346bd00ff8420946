//! Wrong responses by registries and other servers.

use bytes::Bytes;
use http::HeaderValue;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE};
use oci_proto::server::Content as _;
use oci_proto::{Fault, FaultKind};

use crate::simulation::answers::Asked;
use crate::simulation::choices::Choices;
use crate::simulation::secrets::{SIGNATURE, mark};
use crate::simulation::transfer::{DATE, HALF_A_MINUTE_LATER};
use crate::simulation::world::{World, answer};
use crate::transcript::parse::Answer;

impl World<'_> {
    /// A wrong response to a request for content.
    pub(super) fn wrong_response(
        &mut self,
        registry: usize,
        asked: &Asked<'_>,
        choices: &mut Choices<'_>,
    ) -> Answer {
        self.lied(registry);
        let is_blob = asked.head.uri.path().contains("/blobs/");
        match choices.below(12) {
            // A blob can be resumed only after it was interrupted.
            0..6 if is_blob => self.broken(registry, asked, choices),
            6 | 7 if is_blob => self.wrong(registry, asked, choices),
            0 | 1 => self.odd_challenge(registry, asked, choices),
            2 | 3 => self.odd_redirect(registry, asked, choices),
            4 => self.failure(choices),
            5 => self.refusal([400, 403, 404, 405, 410, 501][choices.below(6)], &[]),
            6 => answer([204, 201, 300, 304, 999, 200][choices.below(6)], &[], ""),
            7 => {
                let ranges = [
                    "bytes 0-9/300",
                    "bytes */300",
                    "bytes 1-2/*",
                    "bytes 5-1/2",
                    "items 0-1/2",
                    "bytes 150-299/300",
                ];
                let range = ranges[choices.below(ranges.len())];
                answer([206, 416][choices.below(2)], &[("content-range", range)], "0123456789")
            }
            8..10 => self.broken(registry, asked, choices),
            _ => self.wrong(registry, asked, choices),
        }
    }

    /// A wrong response to a token request.
    pub(super) fn odd_token(
        &mut self,
        registry: usize,
        asked: &Asked<'_>,
        choices: &mut Choices<'_>,
    ) -> Answer {
        self.lied(registry);
        match choices.below(12) {
            0 | 10 | 11 => self.odd_redirect(registry, asked, choices),
            1 => self.failure(choices),
            2 => self.refusal([400, 401, 403, 404, 405][choices.below(5)], &[]),
            3 => self.broken(registry, asked, choices),
            4 => self.wrong(registry, asked, choices),
            5 => {
                let body = ["{}", "", "[]", r#"{"token":7}"#, r#"{"token":"","access_token":null}"#]
                    [choices.below(5)];
                answer([200, 203][choices.below(2)], &[], body)
            }
            6 => {
                let token = self.secrets.secret();
                let body = format!(r#"{{"token":"{token}\n{token}","expires_in":"300"}}"#);
                answer(200, &[], &body)
            }
            7 => {
                let token = self.secrets.secret();
                answer(200, &[], &format!(r#"{{"token":"{}"}}"#, token.repeat(100)))
            }
            8 => {
                let token = self.secrets.token(registry, None);
                let lifetime = ["-1", "1e300", "0", "null", "[]", "99999999999999999999"][choices.below(6)];
                answer(200, &[], &format!(r#"{{"access_token":"{token}","expires_in":{lifetime}}}"#))
            }
            _ => answer(401, &[("www-authenticate", r#"Bearer realm="https://fish.example/token""#)], ""),
        }
    }

    /// A wrong response by any server. A registry's own challenges count as valid.
    fn odd_challenge(&mut self, registry: usize, asked: &Asked<'_>, choices: &mut Choices<'_>) -> Answer {
        self.fault_record.wrong_of_registry(registry);
        let mark = mark(registry);
        if !self.secrets.is_at_home(registry, &asked.head.uri) {
            let fishing =
                format!(r#"Bearer realm="https://fish.example/token?{mark}",service="s", Basic realm="x""#);
            return self.refusal(401, &[("www-authenticate", &fishing)]);
        }
        let realm = match choices.below(12) {
            0..3 => {
                // A valid challenge, whatever credentials the request has.
                let bearer = self.challenge(registry, true);
                let basic = self.challenge(registry, false);
                let both = format!("{basic}, {bearer}");
                let challenge = [bearer, basic, both][choices.below(3)].clone();
                return self.refusal(401, &[("www-authenticate", &challenge)]);
            }
            3 => format!("https://evil.example/token?{mark}"),
            4 => format!("http://evil.example/token?{mark}"),
            5 => format!("http://localhost:5100/token?{mark}"),
            6 => format!("https://u:p@auth.example/token?{mark}"),
            7 => format!("/token?{mark}"),
            8 => format!("HTTPS://AUTH.example:443/./token?{mark}#x"),
            9 => {
                let challenges = [r#"Bearer realm="x"#, "Negotiate", "", "Basic", "Bearer", "Bearer abc="];
                let challenge = challenges[choices.below(challenges.len())];
                return self.refusal(401, &[("www-authenticate", challenge)]);
            }
            10 => return self.refusal(401, &[("www-authenticate", &"A, ".repeat(100))]),
            _ => return self.refusal(401, &[]),
        };
        self.secrets.name_realm(registry, &realm);
        let scope =
            ["repository:team/app:pull,push registry:catalog:*", "", "aws", "repository:team/other:pull"]
                [choices.below(4)];
        let bearer = format!(r#"Bearer realm="{realm}", service="", scope="{scope}""#);
        let challenge = if choices.flip() { format!(r#"{bearer}, Basic realm="x""#) } else { bearer };
        self.refusal(401, &[("www-authenticate", &challenge)])
    }

    fn odd_redirect(&mut self, registry: usize, asked: &Asked<'_>, choices: &mut Choices<'_>) -> Answer {
        let status = [307, 302, 308, 301, 303][choices.below(5)];
        // Token requests have a mark in their URL.
        let query = format!("?sig={SIGNATURE}&{}", mark(registry));
        let path = asked.head.uri.path();
        let location = match choices.below(14) {
            0 => format!("/elsewhere{path}{query}"),
            1 => asked.head.uri.to_string(),
            2 => format!("https://cdn.example{path}{query}"),
            3 => format!("https://registry.example:8443{path}{query}"),
            4 => format!("http://evil.example{path}{query}"),
            5 => format!("http://127.0.0.1:5200{path}{query}"),
            6 => format!("https://user:pw@cdn.example{path}{query}"),
            7 => format!("//other.example{path}{query}"),
            8 => format!("../../x{query}"),
            9 => format!("{}{path}{query}", self.secrets.base(registry)),
            10 => format!("{}/elsewhere/{query}", self.secrets.base(registry)),
            11 => "javascript:alert(1)".to_owned(),
            12 => format!("https://auth.example{path}{query}"),
            _ => return answer(status, &[], ""),
        };
        answer(status, &[("location", &location)], "")
    }

    fn failure(&mut self, choices: &mut Choices<'_>) -> Answer {
        self.count("failure responses");
        let status = [429, 503, 500, 408, 504, 499][choices.below(6)];
        let waits = ["0", "1", "100", "31536000", HALF_A_MINUTE_LATER, "soon", "99999999999999999999"];
        let mut answer = self.refusal(status, &[("date", DATE)]);
        if let Some(wait) = waits.get(choices.below(waits.len() + 1)) {
            answer.headers.insert("retry-after", HeaderValue::from_static(wait));
        }
        answer
    }

    /// The correct response, broken off.
    fn broken(&mut self, registry: usize, asked: &Asked<'_>, choices: &mut Choices<'_>) -> Answer {
        let mut answer = self.truth(registry, asked);
        let kind = [FaultKind::Reset, FaultKind::Timeout, FaultKind::Reset, FaultKind::Tls][choices.below(4)];
        let at = [usize::from(choices.byte()), 1, 150, answer.body.len()][choices.below(4)];
        answer.cut = Some((at, Fault::new(kind, "from the input")));
        answer
    }

    /// The correct response with an error in it.
    fn wrong(&mut self, registry: usize, asked: &Asked<'_>, choices: &mut Choices<'_>) -> Answer {
        let mut answer = self.truth(registry, asked);
        match choices.below(11) {
            0 => _ = answer.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip")),
            1 => _ = answer.headers.insert(CONTENT_LENGTH, HeaderValue::from(usize::from(choices.byte()))),
            2 => _ = answer.headers.remove(CONTENT_LENGTH),
            3 => _ = answer.headers.remove("docker-content-digest"),
            4 => _ = answer.headers.remove(CONTENT_RANGE),
            5 => answer.body = Bytes::from([&answer.body[..], &[b' '; 500]].concat()),
            6 => answer.body.truncate(usize::from(choices.byte())),
            7 => self.shift(&mut answer, asked, choices),
            8 => {
                let digest =
                    self.content.root.digest.to_string().parse().expect("a digest is a valid header value");
                answer.headers.insert("docker-content-digest", digest);
            }
            9 => {
                let types = ["application/vnd.oci.image.manifest.v1+json", "text/html", "application/json"];
                answer.headers.insert(CONTENT_TYPE, HeaderValue::from_static(choices.pick(&types)));
            }
            _ => {
                let mut body = answer.body.to_vec();
                if let Some(byte) = body.first_mut() {
                    *byte ^= 1;
                }
                answer.body = body.into();
            }
        }
        answer
    }

    /// Responds with another range than requested, and declares it.
    fn shift(&self, answer: &mut Answer, asked: &Asked<'_>, choices: &mut Choices<'_>) {
        let name = asked.head.uri.path().rsplit('/').next().unwrap_or_default();
        let whole = name.parse().ok().and_then(|digest| self.content.memory.bytes(&digest));
        let Some(whole) = whole.filter(|whole| answer.status == 206 && !whole.is_empty()) else { return };
        let start = usize::from(choices.byte()) % whole.len();
        let range = format!("bytes {start}-{}/{}", whole.len() - 1, whole.len());
        answer.headers.insert(CONTENT_RANGE, range.parse().expect("a range is a valid header value"));
        answer.headers.insert(CONTENT_LENGTH, (whole.len() - start).into());
        answer.body = whole.slice(start..);
    }
}
