//! The bodies of the fuzz targets `scope` and `token`.

use std::time::Duration;

use http::HeaderValue;
use oci_proto::{Scope, TokenAnswer};
use serde_json::Value;

/// A scope prints as text that parses to the same value, covers itself, is unchanged by a merge with itself,
/// and is bounded.
pub fn scope(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let scope = Scope::parse(text);
    let printed = scope.to_string();
    assert_eq!(Scope::parse(&printed), scope, "{printed}");
    assert!(printed.len() <= text.len(), "`{printed}` is longer than `{text}`");
    assert!(scope.params().count() <= 32, "{printed}");
    assert_eq!(scope.is_empty(), scope.params().next().is_none());
    assert!(scope.covers(&scope) && scope.covers(&Scope::default()));
    let mut merged = scope.clone();
    merged.merge(&scope);
    assert_eq!(merged, scope);
    let pull = Scope::pull(&"team/app".parse().expect("a repository"));
    merged.merge(&pull);
    assert!(merged.covers(&scope) && merged.covers(&pull), "{merged}");
}

/// A parsed token response agrees with `serde_json`; its token is valid in a header, and is not shown.
pub fn token(data: &[u8]) {
    let value: Option<Value> = serde_json::from_slice(data).ok();
    let text = |name| value.as_ref()?.get(name)?.as_str().filter(|text| !text.is_empty());
    let token = text("token").or_else(|| text("access_token"));
    match TokenAnswer::parse(data) {
        Ok(answer) => {
            // `serde_json` has no value for numbers out of range.
            assert!(value.is_none() || Some(answer.token.reveal()) == token, "{value:?}");
            assert!(HeaderValue::from_str(answer.token.reveal()).is_ok());
            let shown = format!("TokenAnswer {{ token: REDACTED, lifetime: {:?} }}", answer.lifetime);
            assert_eq!(format!("{answer:?}"), shown);
            let (least, most) = (Duration::from_secs(60), Duration::from_secs(24 * 60 * 60));
            assert!((least..=most).contains(&answer.lifetime), "{:?}", answer.lifetime);
        }
        Err(error) => {
            assert!(
                !token.is_some_and(
                    |token| token.len() <= 64 << 10 && token.bytes().all(|b| b.is_ascii_graphic())
                ),
                "{error}: {token:?}"
            );
        }
    }
}
