//! The table of kernels, which Vagrant reads too, and fetching one.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::mirror::Mirror;
use crate::shell::say;
use crate::workspace;

/// The table, below the repository's root.
const TABLE: &str = "vagrant/kernels.toml";
/// Debian's kernel for virtual machines: it depends on the newest one of its suite.
const META_PACKAGE: &str = "linux-image-cloud-amd64";

/// One row of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kernel {
    /// Name of the row, and of the Vagrant machine.
    pub(super) name: String,
    /// First two numbers of the version.
    pub(super) version: String,
    /// Suite of the mirror that has it.
    pub(super) suite: String,
}

/// A kernel on the disk.
#[derive(Debug)]
pub(super) struct Image {
    /// The compressed kernel.
    pub(super) kernel: PathBuf,
    /// The folder of its modules, `lib/modules/RELEASE`.
    pub(super) modules: PathBuf,
}

/// Every row, the oldest kernel first.
pub(super) fn read() -> Result<Vec<Kernel>> {
    let path = workspace::root().join(TABLE);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    parse(&text).with_context(|| format!("in {}", path.display()))
}

fn parse(text: &str) -> Result<Vec<Kernel>> {
    let table: toml::Table = text.parse()?;
    let rows = table.get("kernel").and_then(toml::Value::as_array).context("there is no [[kernel]]")?;
    let row = |row: &toml::Value| {
        let field = |name: &str| {
            let value = row.get(name).and_then(toml::Value::as_str);
            value.map(str::to_owned).with_context(|| format!("a [[kernel]] has no {name}"))
        };
        Ok(Kernel { name: field("name")?, version: field("version")?, suite: field("suite")? })
    };
    rows.iter().map(row).collect()
}

/// The rows that `wanted` names by version or name; all without one.
pub(super) fn chosen(all: Vec<Kernel>, wanted: &[String]) -> Result<Vec<Kernel>> {
    let is = |kernel: &Kernel, word: &String| *word == kernel.version || *word == kernel.name;
    if let Some(word) = wanted.iter().find(|word| !all.iter().any(|kernel| is(kernel, word))) {
        let known: Vec<_> =
            all.iter().map(|kernel| format!("{} ({})", kernel.version, kernel.name)).collect();
        bail!("{TABLE} has no kernel {word}; it has {}", known.join(", "));
    }
    let keep = |kernel: &Kernel| wanted.is_empty() || wanted.iter().any(|word| is(kernel, word));
    Ok(all.into_iter().filter(keep).collect())
}

impl Kernel {
    /// The kernel below `folder`, from the mirror unless it is there already.
    pub(super) fn fetch(&self, folder: &Path) -> Result<Image> {
        let place = folder.join("kernels").join(&self.name);
        if let Some(image) = find(&place)? {
            return Ok(image);
        }
        let mirror = Mirror::open(&place.join("apt"), &[&self.suite])?;
        let package = mirror.dependency(META_PACKAGE)?;
        say(format_args!("fetching {package} from {}", self.suite));
        mirror.unpack(&package, &place)?;
        let image = find(&place)?.with_context(|| format!("{package} has no kernel in it"))?;
        let release = image.release();
        if !release.starts_with(&format!("{}.", self.version)) {
            bail!("{} has kernel {release}, but {TABLE} says {}", self.suite, self.version);
        }
        Ok(image)
    }
}

impl Image {
    /// The kernel's full version.
    pub(super) fn release(&self) -> String {
        self.modules.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// The kernel that a package was unpacked to.
fn find(place: &Path) -> Result<Option<Image>> {
    let Ok(entries) = fs::read_dir(place.join("boot")) else { return Ok(None) };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let Some(release) = name.to_str().and_then(|name| name.strip_prefix("vmlinuz-")) else { continue };
        // Newer packages put them below `usr`.
        let modules = ["lib/modules", "usr/lib/modules"].map(|dir| place.join(dir).join(release));
        let modules = modules.into_iter().find(|dir| dir.is_dir());
        let modules = modules.with_context(|| format!("kernel {release} has no modules"))?;
        return Ok(Some(Image { kernel: entry.path(), modules }));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_an_old_and_a_new_kernel_each_with_a_suite() {
        let rows = read().unwrap();
        assert_eq!(rows.first().unwrap().version, "5.10");
        assert!(rows.iter().any(|row| row.version == "6.1") && rows.iter().any(|row| row.version == "6.12"));
    }

    #[test]
    fn a_kernel_is_chosen_by_version_or_name_and_an_unknown_one_is_refused() {
        let names = |wanted: &[&str]| {
            let wanted: Vec<_> = wanted.iter().map(|word| (*word).to_owned()).collect();
            chosen(read().unwrap(), &wanted)
                .map(|rows| rows.into_iter().map(|row| row.name).collect::<Vec<_>>())
        };
        assert_eq!(names(&["6.1"]).unwrap(), ["debian-12"]);
        assert_eq!(names(&["6.12"]).unwrap(), ["debian-12-backports", "debian-13"]);
        assert_eq!(names(&[]).unwrap().len(), read().unwrap().len());
        assert!(names(&["2.6"]).unwrap_err().to_string().contains("5.10 (debian-11)"));
    }

    #[test]
    fn a_row_without_a_suite_is_named() {
        let error = parse("[[kernel]]\nname = \"x\"\nversion = \"1\"\n").unwrap_err();
        assert!(error.to_string().contains("suite"), "{error}");
    }
}
