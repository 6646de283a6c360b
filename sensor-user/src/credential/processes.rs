//! New processes: the credentials in their environment, and the files they may open next.

use std::{
    collections::{HashMap, VecDeque},
    fs::File,
    os::unix::fs::MetadataExt as _,
    path::Path,
    sync::{
        atomic::Ordering,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use attribution::event::{Event, FileId, ProcessKey};

use super::{
    Shared, Skip,
    environment::Target,
    list::Class,
    marks::Mark,
    mounts::{SecretMount, mount_id, secret_mounts},
    root::Root,
};
use crate::{homes::homes, identity::executable::file_id};

/// Home folders remembered as marked; all are forgotten when there are more.
const MAX_HOMES: usize = 4096;
/// How often what is known already is looked for again: files come and go.
const AGAIN: Duration = Duration::from_secs(10);
/// How often a home folder is looked at for new processes.
const HOME_AGAIN: Duration = Duration::from_millis(500);
/// How often it is looked whether to stop.
const STOP: Duration = Duration::from_millis(200);
/// Folders above the current one in which a `.env` is looked for.
const MAX_PARENTS: usize = 6;
/// Files that programs load their environment from.
const DOTENV: [&str; 5] = [".env", ".env.local", ".env.development", ".env.production", ".env.test"];

/// What there is to look at.
pub(super) enum Job {
    /// A process that runs a new program.
    Exec {
        /// Since when.
        time_ns: u64,
        /// The process.
        process: ProcessKey,
        /// The program.
        program: FileId,
        /// Its first argument.
        script: Option<String>,
    },
    /// Processes that ran before the sensor.
    Running(Vec<ProcessKey>),
}

struct Looker<'a> {
    shared: &'a Shared,
    /// Home folders, each with the file system and inode of the root it is below.
    homes: HashMap<(u64, u64, String), Instant>,
}

/// Marks the home folders of this host, before anything else is looked at.
pub(super) fn mark_homes(shared: &Shared) {
    let mut looker = Looker { shared, homes: HashMap::new() };
    looker.own_root();
}

/// Takes jobs until it is told to stop.
pub(super) fn run(shared: &Shared, jobs: &Receiver<Job>) {
    let mut looker = Looker { shared, homes: HashMap::new() };
    let mut looked = Instant::now();
    let mut older = VecDeque::new();
    while !shared.stop.load(Ordering::Relaxed) {
        // Those that ran before can wait: new ones may be gone in a moment.
        let wait = if older.is_empty() { STOP } else { Duration::ZERO };
        match jobs.recv_timeout(wait) {
            Ok(Job::Exec { time_ns, process, program, script }) => {
                looker.process(time_ns, Target { process, program: Some(program) }, script.as_deref());
            }
            Ok(Job::Running(processes)) => older.extend(processes),
            Err(RecvTimeoutError::Timeout) => {
                if let Some(process) = older.pop_front() {
                    looker.process(process.start_ns, Target { process, program: None }, None);
                }
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if looked.elapsed() >= AGAIN {
            looked = Instant::now();
            looker.own_root();
        }
    }
}

impl Looker<'_> {
    /// The places of the catalogue in the root and the home folders of this host.
    fn own_root(&mut self) {
        let Ok(root) = Root::own() else { return };
        self.mounts(std::process::id(), &root);
        self.places(&root, Path::new("/"), false);
        for home in homes() {
            self.places(&root, &home, true);
        }
    }

    fn process(&mut self, time_ns: u64, target: Target, script: Option<&str>) {
        let process = target.process;
        let block = match target.read() {
            Ok(block) => block,
            Err(skip) => {
                self.shared.skipped.count(skip);
                // One that is gone has used nothing any more.
                if skip != Skip::Vanished {
                    let unread = skip.reason().to_owned();
                    self.shared.send(Event::Environment { time_ns, process, found: Vec::new(), unread });
                }
                return;
            }
        };
        let found = self.shared.at_rest.in_environment(&block);
        if !found.is_empty() {
            self.shared.send(Event::Environment { time_ns, process, found, unread: String::new() });
        }
        let Ok(root) = Root::of(process.pid) else { return };
        for (variable, value) in self.shared.at_rest.paths_in_environment(&block) {
            if variable == "HOME" {
                self.home(&root, value);
            } else {
                self.named(&root, &variable, &value);
            }
        }
        self.dotenv(process.pid, &root, script);
        self.mounts(process.pid, &root);
    }

    fn home(&mut self, root: &Root, home: String) {
        let Some((device, inode)) = root.identity() else { return };
        let key = (device, inode, home.clone());
        if self.homes.get(&key).is_some_and(|looked| looked.elapsed() < HOME_AGAIN) {
            return;
        }
        if self.homes.len() >= MAX_HOMES {
            self.homes.clear();
        }
        self.homes.insert(key, Instant::now());
        self.places(root, Path::new(&home), true);
    }

    /// Marks the catalogue's files below `start`, and the folders in which they may come to be.
    fn places(&mut self, root: &Root, start: &Path, home: bool) {
        let places: Vec<(Vec<String>, Class)> = {
            let list = self.shared.list();
            list.places(home).map(|(parts, class)| (parts.to_vec(), class.clone())).collect()
        };
        for (parts, class) in places {
            let (files, folders) = root.find(start, &parts);
            for folder in folders {
                self.mark(root, Mark::Folder, &folder, None);
            }
            for file in files {
                self.mark(root, Mark::File, &file, Some(&class));
            }
        }
    }

    /// Marks what a variable names.
    fn named(&mut self, root: &Root, variable: &str, value: &str) {
        let named = self.shared.list().named_by(variable, value);
        for (path, class) in named {
            let parts: Vec<String> = path.trim_start_matches('/').split('/').map(str::to_owned).collect();
            let (files, folders) = root.find(Path::new("/"), &parts);
            for folder in folders {
                self.mark(root, Mark::Folder, &folder, None);
            }
            for file in files {
                self.shared.list().add_named(file.display().to_string(), class.clone());
                self.mark(root, Mark::File, &file, Some(&class));
            }
        }
    }

    /// Marks the `.env` files near the current folder and near the script.
    fn dotenv(&mut self, pid: u32, root: &Root, script: Option<&str>) {
        let Ok(current) = std::fs::read_link(format!("/proc/{pid}/cwd")) else { return };
        let script = script.filter(|script| !script.starts_with('-')).map(|script| current.join(script));
        let near = script.as_deref().and_then(Path::parent);
        for start in [Some(current.as_path()), near.filter(|near| *near != current)].into_iter().flatten() {
            for folder in start.ancestors().take(MAX_PARENTS) {
                for name in DOTENV {
                    let path = folder.join(name);
                    let class = self.shared.list().class(&path.display().to_string(), FileId::default());
                    self.mark(root, Mark::File, &path, class.as_ref());
                }
            }
        }
    }

    /// Marks the secret mounts that a process sees.
    fn mounts(&mut self, pid: u32, root: &Root) {
        for SecretMount { id, point, mark } in secret_mounts(pid) {
            let Ok(file) = root.handle(&point).map(File::from) else { continue };
            // A process that just enters a container has another root than it has mounts: what is there instead
            // may be the file system of the whole host.
            if mount_id(&file).ok() != Some(id) {
                continue;
            }
            if let Some(device) =
                self.mark_file(mark, &point, file, None).filter(|_| mark == Mark::FileSystem)
            {
                self.shared.list().add_device(device, &point);
            }
        }
    }

    /// Marks what is at `path` and gives its device. What is not there is not marked.
    fn mark(&mut self, root: &Root, mark: Mark, path: &Path, class: Option<&Class>) -> Option<u64> {
        self.mark_file(mark, path, File::from(root.handle(path).ok()?), class)
    }

    fn mark_file(&mut self, mark: Mark, path: &Path, file: File, class: Option<&Class>) -> Option<u64> {
        let kind = file.metadata().ok()?.file_type();
        // A pipe or device is no credential file, and reading one does something.
        if !(kind.is_file() || kind.is_dir()) || (mark == Mark::File && !kind.is_file()) {
            return None;
        }
        let id = file_id(&file).ok()?;
        if let Some(class) = class {
            self.shared.list().add_file(id, class.clone());
        }
        // Made again it changes nothing, and what has the same inode number may be another file by now.
        if let Err(error) = self.shared.marks.add(mark, &file) {
            tracing::debug!(path = %path.display(), %error, "cannot be marked");
            return None;
        }
        Some(id.device)
    }
}

impl Root {
    /// Device and inode of the root itself.
    fn identity(&self) -> Option<(u64, u64)> {
        let metadata = File::from(self.handle(Path::new("/")).ok()?).metadata().ok()?;
        Some((metadata.dev(), metadata.ino()))
    }
}
