//! Tokens that docker-registry accepts: signed, with the key's certificate.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rcgen::{CertificateParams, KeyPair};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};

/// A key with a self-signed certificate.
pub(super) struct Signer {
    key: EcdsaKeyPair,
    der: String,
    pem: String,
    random: SystemRandom,
}

impl Signer {
    pub(super) fn new() -> Self {
        let key = KeyPair::generate().expect("a key can be generated");
        let params = CertificateParams::new([]).expect("no names are valid names");
        let certificate = params.self_signed(&key).expect("a certificate can be signed");
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &key.serialize_der(), &random)
            .expect("the key is of the default type, P-256");
        Self { key, der: STANDARD.encode(certificate.der()), pem: certificate.pem(), random }
    }

    /// The certificate.
    pub(super) fn pem(&self) -> &str {
        &self.pem
    }

    /// A JSON Web Token with these claims.
    ///
    /// Source: RFC 7515, sections 3.1 and 4.1.6; RFC 7518, section 3.4.
    pub(super) fn sign(&self, claims: &Value) -> String {
        let header = json!({ "typ": "JWT", "alg": "ES256", "x5c": [self.der] });
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encode(&header), encode(claims));
        let signature = self.key.sign(&self.random, signed.as_bytes()).expect("randomness is available");
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").finish_non_exhaustive()
    }
}
