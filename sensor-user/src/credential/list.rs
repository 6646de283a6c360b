//! Which files are credential files: the catalogue's, the user's, and those that variables name.

use std::{collections::HashMap, path::Path, sync::Arc};

use attribution::{
    credential::Format,
    endpoint::Catalogue,
    event::{FileId, Store},
};

use super::glob::Glob;

/// Files named by variables, or known by device and inode; all are forgotten when there are more.
const MAX_NAMED: usize = 8192;
/// Owner of files that the user named.
const CONFIGURED: &str = "configured";
/// Owner of files on secret mounts.
const MOUNTED: &str = "container";

/// Folders of secrets, the most exact first, and what their files are. `/var/run` is a link to `/run`.
const STORES: [(&str, Store); 9] = [
    ("/run/secrets/kubernetes.io/", Store::KubernetesSecret),
    ("/run/secrets/eks.amazonaws.com/", Store::KubernetesSecret),
    ("/run/secrets/pods.eks.amazonaws.com/", Store::KubernetesSecret),
    ("/run/secrets/azure/tokens/", Store::KubernetesSecret),
    ("/var/run/secrets/", Store::KubernetesSecret),
    ("/etc/secrets/", Store::KubernetesSecret),
    ("/run/secrets/", Store::DockerSecret),
    ("/run/credentials/", Store::SystemdCredential),
    ("/run/credstore/", Store::SystemdCredential),
];
/// Folders of pod volumes below the kubelet's own.
const POD_VOLUMES: [&str; 2] = ["/volumes/kubernetes.io~secret/", "/volumes/kubernetes.io~projected/"];

/// What a credential file is and how to read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Class {
    /// What kind of place it is.
    pub(super) store: Store,
    /// The client or platform it belongs to.
    pub(super) owner: String,
    /// How it is written.
    pub(super) format: Format,
    /// Pointers or field names of the secrets.
    pub(super) secrets: Vec<String>,
}

struct Entry {
    globs: Vec<Glob>,
    class: Class,
    directory_variable: Option<String>,
    file_variable: Option<String>,
}

/// All patterns, and the files they have led to so far.
pub(super) struct List {
    entries: Vec<Entry>,
    /// Files that variables named, by path.
    named: HashMap<String, Class>,
    /// Files under whatever name.
    files: HashMap<FileId, Class>,
    /// File systems that hold nothing but secrets.
    devices: HashMap<u64, Store>,
}

impl List {
    /// The catalogue's files and the user's patterns.
    pub(super) fn new(catalogue: &Arc<Catalogue>, patterns: &[String]) -> Self {
        let user = Entry {
            globs: patterns.iter().map(|pattern| Glob::new(pattern)).collect(),
            class: class(CONFIGURED, Format::Raw, &[]),
            directory_variable: None,
            file_variable: None,
        };
        let known = catalogue.document().credential_file.iter().map(|entry| Entry {
            globs: entry.paths.iter().map(|path| Glob::new(path)).collect(),
            class: class(&entry.owner, Format::of(&entry.format, entry.encrypted), &entry.secrets),
            directory_variable: entry.directory_variable.clone(),
            file_variable: entry.file_variable.clone(),
        });
        Self {
            entries: [user].into_iter().chain(known).collect(),
            named: HashMap::new(),
            files: HashMap::new(),
            devices: HashMap::new(),
        }
    }

    /// What the file `id` is, which was opened under `path`.
    pub(super) fn class(&self, path: &str, id: FileId) -> Option<Class> {
        let store = store(path).or_else(|| self.devices.get(&id.device).copied());
        let known = self.files.get(&id).or_else(|| self.named.get(path)).cloned();
        let listed = known.or_else(|| {
            let fits = |entry: &&Entry| entry.globs.iter().any(|glob| glob.fits(path));
            self.entries.iter().find(fits).map(|entry| entry.class.clone())
        });
        // On a secret mount every file counts, whatever its name.
        let mut class = listed.or_else(|| store.map(|_| class(MOUNTED, Format::Raw, &[])))?;
        class.store = store.unwrap_or_default();
        Some(class)
    }

    /// Remembers a file system that holds nothing but secrets, and where it is mounted.
    pub(super) fn add_device(&mut self, device: u64, folder: &Path) {
        if self.devices.len() >= MAX_NAMED {
            self.devices.clear();
        }
        if let Some(store) = store(&format!("{}/", folder.display())) {
            self.devices.insert(device, store);
        }
    }

    /// Paths below a home folder (or below the root), part by part.
    pub(super) fn places(&self, home: bool) -> impl Iterator<Item = (&[String], &Class)> {
        self.entries.iter().flat_map(move |entry| {
            entry.globs.iter().filter_map(move |glob| Some((glob.fixed(home)?, &entry.class)))
        })
    }

    /// The files that a variable with this value names, and what they are.
    pub(super) fn named_by(&self, variable: &str, value: &str) -> Vec<(String, Class)> {
        let file = |entry: &Entry| vec![(value.to_owned(), entry.class.clone())];
        let is = |name: &Option<String>| name.as_deref() == Some(variable);
        if let Some(entry) = self.entries.iter().find(|entry| is(&entry.file_variable)) {
            return file(entry);
        }
        let in_folder = self.entries.iter().filter(|entry| is(&entry.directory_variable)).flat_map(|entry| {
            entry.globs.iter().filter_map(|glob| {
                // What follows the folder that the variable moves: ~/.codex/auth.json, ~/.config/x/credentials/y.
                let parts = glob.fixed(true)?;
                let below = if parts.first()?.as_str() == ".config" { 2 } else { 1 };
                let rest = parts.get(below..).filter(|rest| !rest.is_empty())?.join("/");
                Some((format!("{}/{rest}", value.trim_end_matches('/')), entry.class.clone()))
            })
        });
        let found: Vec<_> = in_folder.collect();
        match found.is_empty() {
            true => vec![(value.to_owned(), class(variable, Format::Raw, &[]))],
            false => found,
        }
    }

    /// Remembers a file that a variable named.
    pub(super) fn add_named(&mut self, path: String, class: Class) {
        if self.named.len() >= MAX_NAMED {
            self.named.clear();
        }
        self.named.insert(path, class);
    }

    /// Remembers a file by device and inode, for when it is opened under another name.
    pub(super) fn add_file(&mut self, id: FileId, class: Class) {
        if self.files.len() >= MAX_NAMED {
            self.files.clear();
        }
        self.files.insert(id, class);
    }
}

/// Whether `folder` is one in which secrets are mounted.
pub(super) fn is_secret_folder(folder: &Path) -> bool {
    let path = format!("{}/", folder.display());
    store(&path).is_some()
}

fn store(path: &str) -> Option<Store> {
    let pod = POD_VOLUMES.iter().any(|part| path.contains(part));
    let known = STORES.iter().find(|(folder, _)| path.starts_with(folder)).map(|(_, store)| *store);
    if pod { Some(Store::KubernetesSecret) } else { known }
}

fn class(owner: &str, format: Format, secrets: &[String]) -> Class {
    Class { store: Store::File, owner: owner.to_owned(), format, secrets: secrets.to_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list() -> List {
        List::new(&Arc::new(Catalogue::built_in().unwrap()), &["/srv/*/key".to_owned()])
    }

    #[test]
    fn files_are_known_by_path_or_by_themselves() {
        let mut list = list();
        let none = FileId::default();
        let owner = |list: &List, path: &str| list.class(path, none).map(|class| class.owner);
        assert_eq!(owner(&list, "/root/.codex/auth.json").as_deref(), Some("codex"));
        assert_eq!(owner(&list, "/srv/app/.env").as_deref(), Some("app"));
        assert_eq!(owner(&list, "/srv/app/key").as_deref(), Some("configured"));
        assert_eq!(owner(&list, "/srv/app/auth.json"), None);
        let id = FileId { device: 1, inode: 2 };
        let codex = list.class("/root/.codex/auth.json", none).unwrap();
        list.add_file(id, codex);
        assert_eq!(list.class("/tmp/other", id).map(|class| class.owner).as_deref(), Some("codex"));
    }

    #[test]
    fn secrets_are_known_by_where_they_are_mounted() {
        let list = list();
        let store = |path: &str| list.class(path, FileId::default()).map(|class| class.store);
        assert_eq!(store("/run/secrets/kubernetes.io/serviceaccount/token"), Some(Store::KubernetesSecret));
        assert_eq!(store("/run/secrets/openai"), Some(Store::DockerSecret));
        assert_eq!(store("/run/credentials/a.service/openai"), Some(Store::SystemdCredential));
        assert!(is_secret_folder(Path::new("/run/secrets")) && !is_secret_folder(Path::new("/run")));
        let mut list = list;
        list.add_device(7, Path::new("/var/lib/kubelet/pods/1/volumes/kubernetes.io~secret/x"));
        let class = list.class("/etc/anywhere/key", FileId { device: 7, inode: 1 }).unwrap();
        assert_eq!((class.store, class.owner.as_str()), (Store::KubernetesSecret, "container"));
    }

    #[test]
    fn variables_name_files_and_move_folders() {
        let list = list();
        let named = |variable: &str, value: &str| {
            list.named_by(variable, value)
                .into_iter()
                .map(|(path, class)| (path, class.owner))
                .collect::<Vec<_>>()
        };
        assert_eq!(named("CODEX_HOME", "/x"), [("/x/auth.json".to_owned(), "codex".to_owned())]);
        assert_eq!(named("AWS_SHARED_CREDENTIALS_FILE", "/x"), [("/x".to_owned(), "aws".to_owned())]);
        assert_eq!(named("HF_TOKEN_PATH", "/x"), [("/x".to_owned(), "HF_TOKEN_PATH".to_owned())]);
        let moved = named("ANTHROPIC_CONFIG_DIR", "/x/");
        assert_eq!(moved, [("/x/credentials/*.json".to_owned(), "anthropic-sdk".to_owned())]);
    }
}
