//! Files that only this user may read, written so that a crash leaves the old or the new one.

use std::{fs::DirBuilder, io, os::unix::fs::DirBuilderExt as _, path::Path};

use flow_log::files::{self, Survives};

/// Makes a folder with mode 0700 where there is none, parents included.
pub fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Writes a file with `mode`, whole or not at all; refuses to replace one unless told.
pub fn write(path: &Path, bytes: &[u8], mode: u32, replace: bool) -> io::Result<()> {
    if !replace && path.symlink_metadata().is_ok() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "it exists already"));
    }
    files::replace(path, bytes, mode, Survives::Crash)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    #[test]
    fn a_file_has_its_mode_and_is_not_replaced_unasked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/key");
        make_folder(path.parent().unwrap()).unwrap();
        write(&path, b"one", 0o600, false).unwrap();
        assert_eq!(write(&path, b"two", 0o600, false).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"one");
        write(&path, b"two", 0o600, true).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing else is left");
    }
}
