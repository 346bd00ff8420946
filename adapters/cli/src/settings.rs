//! The settings of a client, from the options of every command.

use std::fmt;
use std::fs;
use std::path::Path;

use oci_proto::{Config, PlainHttp, Registry};
use oci_proto_common::Settings;
use oci_proto_credentials::Store;

use crate::args::CommonArgs;
use crate::output::Failure;

/// Returns the settings, with the client certificate for a registry if there is one.
pub(crate) fn settings(
    registry: Option<&Registry>,
    common: &CommonArgs,
    logins: Store,
) -> Result<Settings, Failure> {
    let mut settings = Settings::default()
        .config(config(common))
        .credentials(logins)
        .on_notice(common.notices())
        .on_mirror(common.mirrors())
        .on_retry(common.retries())
        .on_warning(common.warnings());
    settings = common.registries.apply(settings);
    if let Some(timeout) = common.timeout {
        settings = settings.timeout(timeout);
    }
    if let Some(recording) = common.recording.clone() {
        settings = settings.record(recording.keep(), move |text| recording.write(text));
    }
    if let Some(path) = &common.ca_file {
        let pem = read("--ca-file", path)?;
        settings =
            settings.add_root_certificates_pem(&pem).map_err(|error| unusable("--ca-file", path, &error))?;
    }
    match (&common.cert, &common.key) {
        (None, None) => {}
        (Some(_), None) => return Err(Failure::usage("--cert requires --key FILE with its private key")),
        (None, Some(_)) => return Err(Failure::usage("--key requires --cert FILE with its certificate")),
        (Some(_), Some(_)) if common.plain_http => {
            return Err(Failure::usage("--cert requires TLS; omit --plain-http"));
        }
        (Some(cert), Some(key)) => {
            let (certificate, secret) = (read("--cert", cert)?, read("--key", key)?);
            if let Some(registry) = registry {
                settings = settings
                    .client_certificate_pem(registry, &certificate, &secret)
                    .map_err(|error| Failure::usage(format_args!("--cert and --key: {error}")))?;
            }
        }
    }
    Ok(settings)
}

/// Reads the file that an option names.
fn read(option: &str, path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|error| unusable(option, path, &error))
}

fn unusable(option: &str, path: &Path, why: &dyn fmt::Display) -> Failure {
    Failure::usage(format_args!("{option} {}: {why}", path.display()))
}

fn config(common: &CommonArgs) -> Config {
    let mut config = Config::default();
    config.user_agent = concat!("ocip/", env!("CARGO_PKG_VERSION")).parse().ok();
    if common.plain_http {
        config.plain_http = PlainHttp::Always;
    } else if common.ca_file.is_some() || common.cert.is_some() {
        // A certificate given explicitly is meant to be used, also for loopback hosts.
        config.plain_http = PlainHttp::Never;
    }
    config.allow_private_addresses = common.reach.allow_private_addresses;
    if !common.reach.token_server.is_empty() {
        config.token_servers = Some(common.reach.token_server.iter().map(Registry::api_authority).collect());
    }
    config.limits.max_attempts = common.retries.saturating_add(1);
    config.limits.in_flight = common.in_flight.into();
    config.limits.in_flight_per_origin = common.in_flight.into();
    config
}
