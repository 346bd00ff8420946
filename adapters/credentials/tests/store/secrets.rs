//! No content of a file causes a panic, or shows a secret in an error or in debug output.

use std::fs;

use oci_proto::Credentials;
use oci_proto_credentials::Store;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{TestDirectory, base64, query};

const SECRET: &str = "hunter2";

/// A JSON value of any form that contains the secret.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(SECRET)),
        Just(json!(base64(SECRET))),
        Just(json!(base64(format!("user:{SECRET}")))),
        Just(json!(base64(format!("a:b:{SECRET}")))),
        Just(json!(format!("{SECRET}\u{0}\u{1b}"))),
        Just(json!([SECRET])),
        Just(json!({"auth": SECRET, SECRET: SECRET})),
        Just(Value::Null),
        any::<f64>().prop_map(|number| json!(number)),
        ".{0,20}".prop_map(|text| json!(text)),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            btree_map(name(), inner.clone(), 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
            vec(inner, 0..3).prop_map(Value::Array),
        ]
    })
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "auth",
            "username",
            "password",
            "identitytoken",
            "registrytoken",
            "registry.example",
            "https://registry.example/v1/",
            "registry.example/team",
            "docker.io",
        ])
        .prop_map(String::from),
        ".{0,10}",
    ]
}

/// A value for the name of a helper. Errors show that name, so a string is not the secret.
fn helper() -> impl Strategy<Value = Value> {
    let others = vec![json!([SECRET]), json!({"auth": SECRET, SECRET: SECRET}), json!(7), Value::Null];
    prop_oneof![name().prop_map(Value::from), prop::sample::select(others)]
}

fn config() -> impl Strategy<Value = Value> {
    let entries = btree_map(name(), value(), 0..5).prop_map(|map| Value::Object(map.into_iter().collect()));
    let helpers = btree_map(name(), helper(), 0..5).prop_map(|map| Value::Object(map.into_iter().collect()));
    let members = prop_oneof![
        4 => entries.prop_map(|entries| ("auths", entries)),
        1 => helpers.prop_map(|helpers| ("credHelpers", helpers)),
        1 => value().prop_map(|value| ("auths", value)),
        1 => helper().prop_map(|value| ("credHelpers", value)),
        1 => helper().prop_map(|value| ("credsStore", value)),
    ];
    let named = |(name, value): (&str, Value)| (name.to_owned(), value);
    vec(members, 0..3).prop_map(move |members| Value::Object(members.into_iter().map(named).collect()))
}

fn check(content: &[u8]) {
    let place = TestDirectory::new();
    fs::write(place.config(), content).unwrap();
    // With an empty PATH no helper is found.
    let empty = place.path().to_owned();
    let store = Store::from_vars(|name| (name == "PATH").then(|| empty.clone().into())).file(place.config());
    for asked in ["registry.example/team/app", "docker.io/library/alpine"] {
        let found = store.look_up(&query(asked));
        let shown = match &found {
            // A user name is not secret.
            Ok(Some(login @ Credentials::Basic { username, .. })) => {
                format!("{login:?}").replace(&format!("{username:?}"), "")
            }
            Ok(login) => format!("{login:?}"),
            Err(fault) => format!("{fault} {fault:?}"),
        };
        for secret in [SECRET.to_owned(), base64(SECRET), base64(format!("user:{SECRET}"))] {
            assert!(!shown.contains(&secret), "{shown}\n{}", content.escape_ascii());
        }
        assert!(shown.len() < 2000, "{shown}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_configuration_shows_a_secret(config in config()) {
        check(config.to_string().as_bytes());
    }

    #[test]
    fn no_broken_configuration_shows_a_secret(config in config(), at in any::<prop::sample::Index>(), byte: u8) {
        let mut content = config.to_string().into_bytes();
        let at = at.index(content.len());
        if let Some(place) = content.get_mut(at) {
            *place = byte;
        }
        check(&content);
        content.truncate(at);
        check(&content);
    }

    #[test]
    fn no_bytes_cause_a_panic(content in vec(any::<u8>(), 0..200)) {
        check(&content);
    }
}

#[test]
fn the_debug_output_of_a_store_shows_no_secret() {
    let login = Credentials::login("user", SECRET).unwrap();
    let store = Store::none().login("registry.example".parse().unwrap(), login);
    assert!(!format!("{store:?}").contains(SECRET), "{store:?}");
}
