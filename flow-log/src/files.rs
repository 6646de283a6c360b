//! Small files that are written whole or not at all.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

/// What a file survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Survives {
    /// The end of the process. After a crash of the host it may be the old one, or empty.
    Kill,
    /// A crash of the host, too: this waits for the disk.
    Crash,
}

/// Puts a file with `mode` in the place of whatever has its name: others see the old one or the new one, and never a
/// part.
pub fn replace(path: &Path, bytes: &[u8], mode: u32, survives: Survives) -> io::Result<()> {
    let new = path.with_extension(format!("new-{}", std::process::id()));
    // Left behind by a process with the same number: in a container all have the same.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&new)?;
        file.write_all(bytes)?;
        if survives == Survives::Crash {
            file.sync_all()?;
        }
        fs::rename(&new, path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written?;
    match path.parent().filter(|_| survives == Survives::Crash) {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_nothing_else_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("place.json");
        let left = folder.path().join(format!("place.new-{}", std::process::id()));
        for (bytes, survives) in [(b"one", Survives::Kill), (b"two", Survives::Crash)] {
            fs::write(&left, "of a process that was killed").unwrap();
            replace(&path, bytes, 0o600, survives).unwrap();
            assert_eq!(fs::read(&path).unwrap(), bytes);
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        }
    }

    #[test]
    fn what_cannot_be_replaced_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::create_dir_all(path.join("b")).unwrap();
        replace(&path, b"one", 0o600, Survives::Kill).unwrap_err();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
