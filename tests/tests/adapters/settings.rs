//! What both builders refuse, in the same words.

/// What each adapter's builder says where it is told what it must refuse.
macro_rules! refused {
    ($builder:ident => $told:expr) => {{
        let tokio = {
            let $builder = oci_proto_tokio::Client::builder();
            $told.unwrap_err().to_string()
        };
        let ureq = {
            let $builder = oci_proto_ureq::Client::builder();
            $told.unwrap_err().to_string()
        };
        [tokio, ureq]
    }};
}

#[test]
fn what_cannot_be_a_root_is_refused() {
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for pem in ["", "no PEM at all", broken, "-----BEGIN CERTIFICATE-----\nAAAA\n"] {
        for said in refused!(builder => builder.add_root_certificates_pem(pem.as_bytes())) {
            assert!(said.starts_with("the root certificates are not usable: "), "{pem:?}: {said}");
        }
    }
}

#[test]
fn what_cannot_be_a_proxy_is_refused_and_not_shown() {
    for url in ["", "ftp://user:secret@host", "http://", "socks4://host:1080", "user:secret@host with spaces"]
    {
        let [tokio, ureq] = refused!(builder => builder.proxy(Some(url)));
        assert_eq!(tokio, ureq, "{url}");
        assert!(tokio.contains("the proxy is not a URL") && !tokio.contains("secret"), "{url}: {tokio}");
    }
}
