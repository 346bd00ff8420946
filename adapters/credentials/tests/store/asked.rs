//! Logins that the program itself finds.

use oci_proto::Credentials;
use oci_proto_credentials::Store;

use crate::support::{TestDirectory, config, login, message, query};

#[test]
fn a_function_precedes_files_and_may_leave_a_registry_to_them() {
    let home = TestDirectory::with_config(config(&[("a.example", "file:a"), ("b.example", "file:b")]));
    let store = home.store().ask("the vault", |query| {
        let is_its = query.registry.as_str() == "a.example";
        Ok(is_its.then(|| Credentials::login("vault", "a").unwrap()))
    });
    assert_eq!(store.look_up(&query("a.example/app")), Ok(login("vault", "a")));
    assert_eq!(store.look_up(&query("b.example/app")), Ok(login("file", "b")));
    assert_eq!(store.source(&"a.example".parse().unwrap()).as_deref(), Some("the vault"));
    let given = store.login("a.example".parse().unwrap(), login("given", "a").unwrap());
    assert_eq!(given.look_up(&query("a.example/app")), Ok(login("given", "a")));
}

#[test]
fn a_function_that_fails_is_named() {
    let store = Store::none().ask("the vault", |_| Err("it is sealed".into()));
    assert_eq!(message(store.look_up(&query("a.example/app"))), "the vault: it is sealed");
    assert!(format!("{store:?}").contains("the vault"));
}
