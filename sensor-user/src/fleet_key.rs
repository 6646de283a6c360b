//! The file that holds the fleet key: created on first start, refused when anyone else could read it.
//!
//! A key that a service manager gives the sensor (`LoadCredential=fleet.key:…`, systemd.exec(5)) counts before that
//! of the state folder, and none is made then.
//!
//! Text, one line: `kwfk1-` and 64 hexadecimal digits. Copy it to every sensor of a fleet; fingerprints
//! of sensors that have the same key can be compared.

use std::{
    fs::{DirBuilder, File, Metadata, OpenOptions},
    io::{self, ErrorKind, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use attribution::credential::FleetKey;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::cli::STATE_DIR;

/// Name of the file in the state folder.
pub const FILE: &str = "fleet.key";

/// Names the folder of secrets that a service manager gives.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";
/// That folder of the sensor's own unit, while it runs.
const SERVICE_CREDENTIALS: &str = "/run/credentials/keywitness.service";
const MARK: &[u8] = b"kwfk1-";
const KEY_BYTES: usize = 32;
const LINE_BYTES: usize = MARK.len() + KEY_BYTES * 2 + 1;
const DIGITS: &[u8; 16] = b"0123456789abcdef";
/// Since Linux 5.6 it waits until the generator is ready, as getrandom(2) does, and never again.
const RANDOM: &str = "/dev/random";

/// Why there is no fleet key.
#[derive(Debug, Error)]
pub enum FleetKeyError {
    /// The state folder cannot be made or used.
    #[error("cannot use state folder {path}: {source}; run as root, or name another with --state-dir")]
    Folder {
        /// Folder.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// Someone else could replace the key.
    #[error("state folder {path} {problem}; run `chown {owner} {path}` and `chmod go-w {path}`")]
    FolderUnsafe {
        /// Folder.
        path: PathBuf,
        /// What is wrong.
        problem: &'static str,
        /// Who must own it.
        owner: u32,
    },
    /// The key cannot be read or written.
    #[error("cannot {action} fleet key {path}: {source}; check the folder and its file system")]
    Io {
        /// What was tried.
        action: &'static str,
        /// File.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// A link, folder or device stands where the key belongs.
    #[error(
        "fleet key {path} is no regular file; replace it by the key file itself, or remove it to make a new key"
    )]
    NotAFile {
        /// File.
        path: PathBuf,
    },
    /// Another user owns it.
    #[error("fleet key {path} belongs to user {found}; run `chown {owner} {path}`")]
    Owner {
        /// File.
        path: PathBuf,
        /// Its owner.
        found: u32,
        /// Who must own it.
        owner: u32,
    },
    /// Others can read it.
    #[error(
        "fleet key {path} is open to other users (mode {mode:o}); if none of them can have read it run `chmod 600 {path}`, else remove it to make a new key"
    )]
    Open {
        /// File.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The content is no key.
    #[error(
        "fleet key {path} is damaged (expected one line: kwfk1- and 64 hexadecimal digits); restore it, or remove it to make a new key"
    )]
    Damaged {
        /// File.
        path: PathBuf,
    },
}

/// The fleet key of this host.
#[derive(Debug)]
pub struct Opened {
    /// The key.
    pub key: FleetKey,
    /// It was made just now.
    pub created: bool,
}

/// The key that was given to this process, or else that in `state_dir`; folder and key are created when they do not
/// exist.
pub fn open(state_dir: &Path) -> Result<Opened, FleetKeyError> {
    let given = std::env::var_os(CREDENTIALS).map(PathBuf::from);
    // Other verbs on the host of a service look where its key is.
    let of_service = || (state_dir == Path::new(STATE_DIR)).then(|| PathBuf::from(SERVICE_CREDENTIALS));
    open_before(given.or_else(of_service).as_deref(), state_dir)
}

/// As [`open`], the folder of given secrets named.
fn open_before(given: Option<&Path>, state_dir: &Path) -> Result<Opened, FleetKeyError> {
    let in_folder = |source| FleetKeyError::Folder { path: state_dir.to_owned(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(state_dir).map_err(in_folder)?;
    check_folder(state_dir, &std::fs::metadata(state_dir).map_err(in_folder)?)?;
    let path = state_dir.join(FILE);
    let given = given.map(|folder| read(&folder.join(FILE))).transpose()?.flatten();
    if let Some(key) = given.map_or_else(|| read(&path), |key| Ok(Some(key)))? {
        return Ok(Opened { key, created: false });
    }
    let created = create(state_dir, &path)?;
    match read(&path)? {
        Some(key) => Ok(Opened { key, created }),
        None => Err(FleetKeyError::Io { action: "read", path, source: ErrorKind::NotFound.into() }),
    }
}

fn check_folder(path: &Path, meta: &Metadata) -> Result<(), FleetKeyError> {
    let owner = nix::unistd::geteuid().as_raw();
    let problem = if meta.uid() != owner && meta.uid() != 0 {
        "belongs to another user"
    } else if meta.mode() & 0o022 != 0 {
        "can be written by other users"
    } else {
        return Ok(());
    };
    Err(FleetKeyError::FolderUnsafe { path: path.to_owned(), problem, owner })
}

/// The key, or nothing when there is no file.
fn read(path: &Path) -> Result<Option<FleetKey>, FleetKeyError> {
    let failed = |source| FleetKeyError::Io { action: "read", path: path.to_owned(), source };
    // A link is not followed and a pipe does not block; what was opened is what is checked.
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path);
    let mut file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {
            return Err(FleetKeyError::NotAFile { path: path.to_owned() });
        }
        Err(error) => return Err(failed(error)),
    };
    check_file(path, &file.metadata().map_err(failed)?)?;
    let mut line = Zeroizing::new([0; LINE_BYTES + 1]);
    let length = read_up_to(&mut file, &mut *line).map_err(failed)?;
    let damaged = || FleetKeyError::Damaged { path: path.to_owned() };
    let mut bytes = line.get(..length).and_then(decode).ok_or_else(damaged)?;
    Ok(Some(FleetKey::new(&mut bytes)))
}

fn check_file(path: &Path, meta: &Metadata) -> Result<(), FleetKeyError> {
    let path = path.to_owned();
    let owner = nix::unistd::geteuid().as_raw();
    if !meta.is_file() {
        return Err(FleetKeyError::NotAFile { path });
    }
    if meta.uid() != owner {
        return Err(FleetKeyError::Owner { path, found: meta.uid(), owner });
    }
    match meta.mode() & 0o7777 {
        mode if mode & 0o077 != 0 => Err(FleetKeyError::Open { path, mode }),
        _ => Ok(()),
    }
}

/// Makes a key unless another process was faster; says whether it did.
fn create(state_dir: &Path, path: &Path) -> Result<bool, FleetKeyError> {
    let failed = |source| FleetKeyError::Io { action: "create", path: path.to_owned(), source };
    let mut bytes = Zeroizing::new([0; KEY_BYTES]);
    File::open(RANDOM).and_then(|mut random| random.read_exact(&mut *bytes)).map_err(failed)?;
    // Linked into place only when it is complete and on disk: there is never half a key.
    let draft = Draft(state_dir.join(format!(".{FILE}.{}", std::process::id())));
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft.0).map_err(failed)?;
    file.write_all(&encode(&bytes)).and_then(|()| file.sync_all()).map_err(failed)?;
    match std::fs::hard_link(&draft.0, path) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(false),
        Err(error) => return Err(failed(error)),
    }
    drop(draft);
    File::open(state_dir).and_then(|folder| folder.sync_all()).map_err(failed)?;
    Ok(true)
}

/// A file that is removed again.
struct Draft(PathBuf);

impl Drop for Draft {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0)
            && error.kind() != ErrorKind::NotFound
        {
            tracing::warn!(path = %self.0.display(), %error, "cannot remove the draft of the fleet key; remove it");
        }
    }
}

fn read_up_to(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while let Some(rest) = buffer.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match file.read(rest)? {
            0 => break,
            count => length += count,
        }
    }
    Ok(length)
}

fn encode(bytes: &[u8; KEY_BYTES]) -> Zeroizing<Vec<u8>> {
    let digit = |half: u8| DIGITS.get(usize::from(half)).copied().unwrap_or_default();
    let mut line = Zeroizing::new(Vec::with_capacity(LINE_BYTES));
    line.extend_from_slice(MARK);
    line.extend(bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]));
    line.push(b'\n');
    line
}

fn decode(line: &[u8]) -> Option<Zeroizing<[u8; KEY_BYTES]>> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let digits = line.strip_prefix(MARK).filter(|digits| digits.len() == KEY_BYTES * 2)?;
    let half = |digit: &u8| char::from(*digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let mut bytes = Zeroizing::new([0; KEY_BYTES]);
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = half(high)? << 4 | half(low)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use attribution::credential::Secret;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    }

    fn refusal(prepare: impl FnOnce(&Path)) -> String {
        let scratch = tempfile::tempdir().unwrap();
        let state = scratch.path().join("state");
        open(&state).unwrap();
        prepare(&state.join(FILE));
        open(&state).unwrap_err().to_string()
    }

    fn print(opened: &Opened) -> String {
        opened.key.fingerprint(&Secret::from_line("sk-of-nobody".to_owned())).to_string()
    }

    #[test]
    fn the_key_is_made_once_for_the_owner_alone() {
        let scratch = tempfile::tempdir().unwrap();
        let state = scratch.path().join("a/state");
        let first = open(&state).unwrap();
        let second = open(&state).unwrap();
        assert!(first.created && !second.created);
        assert_eq!(print(&first), print(&second));
        assert_eq!((mode(&state), mode(&state.join(FILE))), (0o700, 0o600));
        assert_eq!(fs::read_dir(&state).unwrap().count(), 1, "a draft was left");
        let other = open(&scratch.path().join("other")).unwrap();
        assert_ne!(print(&first), print(&other));
    }

    #[test]
    fn a_key_that_was_given_counts_and_no_other_is_made() {
        let scratch = tempfile::tempdir().unwrap();
        let (given, state) = (scratch.path().join("given"), scratch.path().join("state"));
        let of_fleet = open(&given).unwrap();
        set_mode(&given.join(FILE), 0o400);
        let opened = open_before(Some(&given), &state).unwrap();
        assert!(!opened.created && print(&opened) == print(&of_fleet));
        assert_eq!(fs::read_dir(&state).unwrap().count(), 0);
        set_mode(&given.join(FILE), 0o444);
        assert!(open_before(Some(&given), &state).is_err(), "others could have read it");
        fs::remove_file(given.join(FILE)).unwrap();
        assert!(open_before(Some(&given), &state).unwrap().created);
    }

    #[test]
    fn of_many_that_start_at_once_all_get_the_same_key() {
        let scratch = tempfile::tempdir().unwrap();
        let state = scratch.path();
        set_mode(state, 0o700);
        let path = state.join(FILE);
        assert!(create(state, &path).unwrap());
        let before = fs::read(&path).unwrap();
        assert!(!create(state, &path).unwrap(), "an existing key was replaced");
        assert_eq!(fs::read(&path).unwrap(), before);
    }

    #[test]
    fn the_line_reads_back_as_it_was_written() {
        let bytes = std::array::from_fn(|index| u8::try_from(index * 7).unwrap());
        let line = encode(&bytes);
        assert_eq!(line.len(), LINE_BYTES);
        assert_eq!(*decode(&line).unwrap(), bytes);
        for end in 0..LINE_BYTES - 1 {
            assert!(decode(&line[..end]).is_none(), "{end} bytes are no key");
        }
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        for bits in [0o644, 0o640, 0o604, 0o620, 0o601] {
            let text = refusal(|path| set_mode(path, bits));
            assert!(text.contains("chmod 600") && text.contains(&format!("{bits:o}")), "{text}");
        }
    }

    #[test]
    fn a_link_and_a_folder_are_no_key() {
        let text = refusal(|path| {
            let elsewhere = path.with_extension("elsewhere");
            fs::rename(path, &elsewhere).unwrap();
            std::os::unix::fs::symlink(elsewhere, path).unwrap();
        });
        assert!(text.contains("no regular file"), "{text}");
        let text = refusal(|path| {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
        });
        assert!(text.contains("no regular file"), "{text}");
    }

    #[test]
    fn a_damaged_key_is_refused_and_never_replaced() {
        for content in [
            "",
            "kwfk1-12\n",
            "kwfk1-zz",
            "no key at all, but long enough to be one, 64 digits or more!!!!!!!!!!!!!!!!!!",
        ] {
            let text = refusal(|path| fs::write(path, content).unwrap());
            assert!(text.contains("damaged"), "{text}");
        }
        let text = refusal(|path| {
            let mut line = fs::read(path).unwrap();
            line.push(b'0');
            fs::write(path, line).unwrap();
        });
        assert!(text.contains("damaged"), "{text}");
    }

    #[test]
    fn a_key_of_another_user_is_refused() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join(FILE);
        fs::write(&path, "x").unwrap();
        set_mode(&path, 0o600);
        if !nix::unistd::geteuid().is_root() {
            return; // only root can give files away
        }
        std::os::unix::fs::chown(&path, Some(65534), None).unwrap();
        let text = read(&path).unwrap_err().to_string();
        assert!(text.contains("belongs to user 65534") && text.contains("chown 0"), "{text}");
    }

    #[test]
    fn a_folder_that_others_can_write_is_refused() {
        let scratch = tempfile::tempdir().unwrap();
        set_mode(scratch.path(), 0o777);
        let text = open(scratch.path()).unwrap_err().to_string();
        assert!(text.contains("written by other users") && text.contains("chmod go-w"), "{text}");
    }
}
