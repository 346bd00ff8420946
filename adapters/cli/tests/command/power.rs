//! Pulls and power failures.
//!
//! A layout is pulled into a file system in a file, on a loop device. The file has what has reached the device, so
//! a copy of it is what a power failure would leave. This requires root, Linux and a loop device.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use oci_proto::Digest;
use oci_proto::server::{Flavour, Memory};
use oci_proto_layout::Layout;
use tempfile::TempDir;

use crate::support::{ADAPTERS, command, ocip, registry};

/// A mounted file system, which is unmounted when this is dropped.
struct Mounted(PathBuf);

impl Mounted {
    /// Mounts the file system in a file, or says why not.
    fn new(image: &Path, at: &Path) -> Result<Self, String> {
        fs::create_dir_all(at).unwrap();
        // Long enough between commits that only syncing reaches the device.
        run(Command::new("mount").args(["-o", "loop,commit=300"]).args([image, at]))?;
        Ok(Self(at.to_owned()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = run(Command::new("umount").arg(&self.0));
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    let error = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("{command:?}: {error}")) }
}

/// Mounts a new file system.
fn new_file_system(image: &Path, at: &Path) -> Result<Mounted, String> {
    fs::File::create(image).and_then(|file| file.set_len(96 << 20)).unwrap();
    run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(image))?;
    Mounted::new(image, at)
}

/// Fails unless each file that has the name of a digest has its content.
fn assert_whole(layout: &Path, moment: &str) -> usize {
    let Ok(blobs) = fs::read_dir(layout.join("blobs/sha256")) else { return 0 };
    let blobs = blobs.map(|blob| blob.unwrap().path());
    let wrong = |path: &PathBuf| {
        let content = fs::read(path).unwrap();
        let digest = Digest::of(oci_proto::Algorithm::Sha256, &content);
        assert_eq!(path.file_name().unwrap().to_str(), Some(&*digest.encoded()), "{moment}");
    };
    blobs.inspect(wrong).count()
}

#[test]
fn a_layout_survives_a_power_failure() {
    let home = TempDir::new().unwrap();
    let live = home.path().join("live.img");
    let possible = new_file_system(&live, &home.path().join("live"));
    if let Err(reason) = possible.map(drop) {
        let text = format!("\n*** SKIPPED: a_layout_survives_a_power_failure: {reason} ***\n");
        // Not captured, so that it is seen.
        let _ = std::io::stderr().write_all(text.as_bytes());
        return;
    }
    let layers: Vec<Vec<u8>> = (0..150_u32).map(|n| n.to_le_bytes().repeat(2000)).collect();
    let large: Vec<u8> = (0..2_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let mut memory = Memory::new();
    let all: Vec<&[u8]> = layers.iter().map(Vec::as_slice).chain([&*large]).collect();
    let image = memory.add_image(Flavour::OCI, None, &all);
    let name = format!("{}/demo", registry(&memory, &image));

    for adapter in ADAPTERS {
        let _mounted = new_file_system(&live, &home.path().join("live")).unwrap();
        let layout = home.path().join("live/new/layout");
        let arguments = ["pull", "-q", "--adapter", adapter, &name, layout.to_str().unwrap()];
        let mut pull = command(&arguments).stdout(Stdio::null()).spawn().unwrap();
        let signal = |signal: &str| run(Command::new("kill").args([signal, &pull.id().to_string()])).is_ok();
        let published = || fs::read_dir(layout.join("blobs/sha256")).map_or(0, Iterator::count);
        let mut copies = Vec::new();
        for least in [0, 1, 20, 70, 120] {
            while published() < least
                && !layout.join("index.json").metadata().is_ok_and(|file| file.len() > 200)
            {
                sleep(Duration::from_millis(1));
            }
            // Stopped, and with no write in progress, so that the copy is of one moment.
            signal("-STOP");
            sleep(Duration::from_millis(200));
            let copy = home.path().join(format!("{least}.img"));
            fs::copy(&live, &copy).unwrap();
            signal("-CONT");
            copies.push((copy, format!("{adapter}, after {least} blobs"), false));
        }
        assert!(pull.wait().unwrap().success());
        let copy = home.path().join("end.img");
        fs::copy(&live, &copy).unwrap();
        copies.push((copy, format!("{adapter}, after the pull"), true));

        for (copy, moment, has_ended) in copies {
            let _mounted = Mounted::new(&copy, &home.path().join("copy")).unwrap();
            let layout = home.path().join("copy/new/layout");
            let whole = assert_whole(&layout, &moment);
            if has_ended {
                assert_eq!(whole, 153, "{moment}");
                assert_eq!(Layout::open(&layout).unwrap().roots().len(), 1, "{moment}");
            } else {
                ocip(&["pull", "--adapter", adapter, &name, layout.to_str().unwrap()]).succeeded();
            }
            assert_eq!(ocip(&["check", layout.to_str().unwrap()]).succeeded().text(), "", "{moment}");
        }
    }
}
