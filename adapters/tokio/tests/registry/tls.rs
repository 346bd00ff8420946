//! A registry over TLS.

use std::time::Duration;

use oci_proto::server::{Policy, Rule, Who};
use oci_proto::{Algorithm, Config, Descriptor, Digest, Fault, FaultKind, MediaType, PlainHttp, Reference};
use oci_proto_tokio::credentials::Store;
use oci_proto_tokio::server::{Htpasswd, Identity, Options, SharedRegistry};
use oci_proto_tokio::{Client, Settings, UploadOptions};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The password is `secret`.
const USERS: &str = "ann:$2y$05$.Yg8lmtX9BlQAmqILwE14.ZTR2L53.e3dM18BBhbeIv4LLKvKgZPm";

#[tokio::test(flavor = "multi_thread")]
async fn a_client_pushes_over_tls_with_a_login_of_an_htpasswd_file() {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let identity =
        Identity::from_pem(made.cert.pem().as_bytes(), made.signing_key.serialize_pem().as_bytes());
    let users = Htpasswd::parse(USERS).unwrap();
    let options = Options::default()
        .tls(identity.unwrap())
        .timeout(Duration::from_millis(300))
        .authenticate(move |header| users.check(header));
    let mut policy = Policy::open();
    let mut rule = Rule::open();
    (rule.reads, rule.writes) = (Who::AnyUser, Who::AnyUser);
    policy.rules = vec![rule];
    let registry = SharedRegistry::in_memory(policy).unwrap().listen_with(options).await.unwrap();

    let mut config = Config::default();
    config.plain_http = PlainHttp::Never;
    config.limits.max_attempts = 1;
    let home = tempfile::tempdir().unwrap();
    let client = |password: &str, trusts: bool| {
        let file = home.path().join(password);
        let login = format!(r#"{{"username":"ann","password":"{password}"}}"#);
        std::fs::write(&file, format!(r#"{{"auths":{{"{}":{login}}}}}"#, registry.address())).unwrap();
        let mut settings = Settings::default().config(config.clone()).credentials(Store::none().file(&file));
        if trusts {
            settings = settings.add_root_certificates_pem(made.cert.pem().as_bytes()).unwrap();
        }
        Client::with_settings(settings).unwrap()
    };
    let repository: Reference = format!("{}/team/app", registry.address()).parse().unwrap();
    let content = b"content".as_slice();
    let digest = Digest::of(Algorithm::Sha256, content);
    let descriptor = Descriptor::new(MediaType::OCTET_STREAM, digest, content.len() as u64);

    let right = client("secret", true);
    right.upload(&repository, &descriptor, content, UploadOptions::default()).await.unwrap();
    assert_eq!(right.described_blob_bytes(&repository, &descriptor, 100).await.unwrap(), content);
    let wrong = client("wrong", true).described_blob_bytes(&repository, &descriptor, 100).await.unwrap_err();
    assert_eq!(wrong.status().map(|status| status.as_u16()), Some(401), "{wrong}");
    let distrusts =
        client("secret", false).described_blob_bytes(&repository, &descriptor, 100).await.unwrap_err();
    assert_eq!(distrusts.fault().map(Fault::kind), Some(FaultKind::Tls), "{distrusts}");

    // A client without a handshake is disconnected.
    let mut silent = TcpStream::connect(registry.address()).await.unwrap();
    let closed = timeout(Duration::from_secs(20), silent.read(&mut [0])).await.expect("it is disconnected");
    assert!(matches!(closed, Ok(0) | Err(_)), "{closed:?}");
    registry.stop().await.unwrap();
}
