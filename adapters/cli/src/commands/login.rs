//! `ocip login` and `ocip logout`.

use oci_proto::CredentialsQuery;
use oci_proto_credentials::Store;

use crate::args::CommonArgs;
use crate::args::accounts::{LoginCommandArgs, LogoutArgs};
use crate::client::Client;
use crate::output::Failure;

pub(crate) fn run(command: &LoginCommandArgs, common: &CommonArgs) -> Result<(), Failure> {
    let registry = &command.registry;
    let files = common.login.files()?;
    let (name, login) = common.login.ask(registry)?;
    let client = Client::new(
        common.adapter,
        Some(registry),
        common,
        Store::none().login(registry.clone(), login.clone()),
    )?;
    let is_checked = client.check_access(registry);
    client.tell_details(common);
    client.close();
    if !is_checked? {
        common.note(format_args!("warning: {registry} did not ask for a login, so this one was not checked"));
    }
    let place = files.save(registry, &login).map_err(Failure::failed)?;
    common.note(format_args!("logged in to {registry} as {name}; the login is in {place}"));
    Ok(())
}

pub(crate) fn log_out(command: &LogoutArgs, common: &CommonArgs) -> Result<(), Failure> {
    let registry = &command.registry;
    let files = common.login.files()?;
    let places = files.erase(registry).map_err(Failure::failed)?;
    for place in &places {
        common.note(format_args!("removed the login for {registry} from {place}"));
    }
    // There may be one that is not in a file.
    let left = files.look_up(&CredentialsQuery::of_registry(registry.clone())).map_err(Failure::failed)?;
    match files.source(registry) {
        Some(place) if left.is_some() => {
            common.note(format_args!("warning: there is still a login for {registry} in {place}"));
        }
        _ if places.is_empty() => common.note(format_args!("there is no login for {registry}")),
        _ => {}
    }
    Ok(())
}
