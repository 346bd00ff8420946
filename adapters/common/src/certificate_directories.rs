//! The files of Docker and Podman with certificates for one registry.
//!
//! Source: containers-certs.d(5); Docker's page "Verify repository client with certificates".

use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;

use crate::client_certificate::{ClientCertificate, ClientCertificateError};
use crate::roots;
use crate::server_name::Server;
use crate::this_machine::home_directory;

/// The largest file that is read, in bytes.
const MAX_FILE_LEN: u64 = 1 << 20;

/// The directories of Docker and Podman, in the order in which Podman searches them.
pub(crate) fn from_env() -> Vec<PathBuf> {
    let of_user = home_directory().map(|home| home.join(".config/containers/certs.d"));
    let of_system = ["/etc/containers/certs.d", "/etc/docker/certs.d"].map(PathBuf::from);
    of_user.into_iter().chain(of_system).collect()
}

/// The certificates in the directory of a server.
#[derive(Debug, Default)]
pub(crate) struct CertificateFiles {
    pub(crate) roots: Vec<CertificateDer<'static>>,
    pub(crate) clients: Vec<(PathBuf, ClientCertificate)>,
}

impl CertificateFiles {
    /// Reads the first directory that a server has in these ones, or returns `None` if it has none.
    pub(crate) fn read(
        directories: &[PathBuf],
        server: &Server,
    ) -> Result<Option<Self>, CertificateFileError> {
        let names = server.directory_names();
        for directory in directories.iter().flat_map(|all| names.iter().map(|name| all.join(name))) {
            let found = fs::read_dir(&directory).and_then(|entries| {
                entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<PathBuf>>>()
            });
            match found {
                Ok(files) => return Self::from_files(files).map(Some),
                // Docker's is closed to most users on some systems. They cannot know whether it has the server's.
                Err(error) if error.kind() == ErrorKind::PermissionDenied && !directory.exists() => {}
                Err(error) if is_absent(&error) => {}
                Err(error) => return Err(unreadable(&directory, &error)),
            }
        }
        Ok(None)
    }

    fn from_files(mut files: Vec<PathBuf>) -> Result<Self, CertificateFileError> {
        files.sort_unstable();
        let mut read = Self::default();
        for path in files {
            match path.extension().and_then(OsStr::to_str) {
                Some("crt") => {
                    let roots = roots::read_pem(&contents(&path)?);
                    read.roots.extend(roots.map_err(|reason| CertificateFileError::new(&path, reason))?);
                }
                Some("cert") => {
                    let key = path.with_extension("key");
                    if !key.exists() {
                        let reason = format!(
                            "its key {} is missing; add it, or rename the file to *.crt if it is that of an \
                             authority",
                            key.display()
                        );
                        return Err(CertificateFileError::new(&path, reason));
                    }
                    let client = ClientCertificate::from_pem(&contents(&path)?, &contents(&key)?);
                    let client = client.map_err(|error| CertificateFileError::of_client(&path, &error))?;
                    read.clients.push((path, client));
                }
                Some("key") if !path.with_extension("cert").exists() => {
                    let certificate = path.with_extension("cert");
                    let reason = format!(
                        "its certificate {} is missing; add it, or remove the key",
                        certificate.display()
                    );
                    return Err(CertificateFileError::new(&path, reason));
                }
                _ => {}
            }
        }
        Ok(read)
    }
}

/// Why a file with certificates cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CertificateFileError {
    path: PathBuf,
    reason: String,
}

impl CertificateFileError {
    fn new(path: &Path, reason: String) -> Self {
        Self { path: path.to_owned(), reason }
    }

    /// The error of a certificate in a file, or of its key beside it.
    pub(crate) fn of_client(certificate: &Path, error: &ClientCertificateError) -> Self {
        let path = match error {
            ClientCertificateError::Certificate(_) => certificate.to_owned(),
            ClientCertificateError::Key(_) => certificate.with_extension("key"),
        };
        Self { path, reason: error.reason().to_owned() }
    }
}

impl fmt::Display for CertificateFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the certificate file {} is not usable: {}", self.path.display(), self.reason)
    }
}

fn contents(path: &Path) -> Result<Vec<u8>, CertificateFileError> {
    let mut contents = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_FILE_LEN + 1).read_to_end(&mut contents));
    match read {
        Ok(_) if contents.len() as u64 > MAX_FILE_LEN => {
            Err(CertificateFileError::new(path, "it is larger than 1 MiB".to_owned()))
        }
        Ok(_) => Ok(contents),
        Err(error) => Err(unreadable(path, &error)),
    }
}

fn unreadable(path: &Path, error: &io::Error) -> CertificateFileError {
    let reason = match error.kind() {
        ErrorKind::PermissionDenied => format!("{error}; make it readable for this user, or remove it"),
        _ => error.to_string(),
    };
    CertificateFileError::new(path, reason)
}

/// Whether a directory does not exist. No file has some of the names on Windows.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::InvalidFilename)
}
