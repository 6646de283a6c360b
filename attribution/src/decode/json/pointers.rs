//! The pointers a scanner looks for, as a tree.

/// Most pointers one scanner can look for.
pub const MAX_POINTERS: usize = 1024;

pub(super) const ROOT: u16 = 0;
pub(super) const NO_NODE: u16 = u16::MAX;
const MAX_NODES: usize = 8192;

/// Which value is kept when a pointer matches more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// The first one.
    First,
    /// The last one.
    Last,
}

/// Names one pointer of a [`Pointers`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Slot(u16);

/// A pointer that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PointerError {
    /// It does not start with a slash.
    #[error("json pointer `{0}` must start with `/`")]
    NoSlash(String),
    /// There are too many.
    #[error("more than {MAX_POINTERS} json pointers")]
    TooMany,
}

/// A fixed set of pointers (RFC 6901), `*` standing for any array index.
#[derive(Debug, Clone, Default)]
pub struct Pointers {
    nodes: Vec<Node>,
    wants: Vec<Want>,
}

#[derive(Debug, Clone, Default)]
struct Node {
    keys: Vec<(Box<[u8]>, u16)>,
    element: Option<u16>,
    slot: Option<Slot>,
}

#[derive(Debug, Clone, Copy)]
struct Want {
    keep: Keep,
    limit: usize,
}

/// Collects pointers; the same pointer twice gives the same slot.
#[derive(Debug, Clone)]
pub struct PointersBuilder(Pointers);

impl Default for PointersBuilder {
    fn default() -> Self {
        Self(Pointers { nodes: vec![Node::default()], wants: Vec::new() })
    }
}

impl PointersBuilder {
    /// Adds `pointer`, of which at most `limit` bytes (as written, escapes included) are kept.
    pub fn want(&mut self, pointer: &str, keep: Keep, limit: usize) -> Result<Slot, PointerError> {
        let path = pointer.strip_prefix('/').ok_or_else(|| PointerError::NoSlash(pointer.to_owned()))?;
        let mut node = ROOT;
        for token in path.split('/') {
            node = self.step(node, token)?;
        }
        let next = Slot(u16::try_from(self.0.wants.len()).map_err(|_| PointerError::TooMany)?);
        let Some(end) = self.0.nodes.get_mut(usize::from(node)) else { return Err(PointerError::TooMany) };
        if let Some(slot) = end.slot {
            if let Some(want) = self.0.wants.get_mut(slot.index()) {
                want.limit = want.limit.max(limit);
            }
            return Ok(slot);
        }
        if self.0.wants.len() >= MAX_POINTERS {
            return Err(PointerError::TooMany);
        }
        end.slot = Some(next);
        self.0.wants.push(Want { keep, limit });
        Ok(next)
    }

    /// The finished set.
    pub fn build(self) -> Pointers {
        self.0
    }

    fn step(&mut self, node: u16, token: &str) -> Result<u16, PointerError> {
        let key = token.replace("~1", "/").replace("~0", "~");
        let existing = if token == "*" { self.0.element(node) } else { self.0.child(node, key.as_bytes()) };
        if existing != NO_NODE {
            return Ok(existing);
        }
        if self.0.nodes.len() >= MAX_NODES {
            return Err(PointerError::TooMany);
        }
        let new = u16::try_from(self.0.nodes.len()).map_err(|_| PointerError::TooMany)?;
        self.0.nodes.push(Node::default());
        if let Some(parent) = self.0.nodes.get_mut(usize::from(node)) {
            if token == "*" {
                parent.element = Some(new);
            } else {
                parent.keys.push((key.into_bytes().into(), new));
            }
        }
        Ok(new)
    }
}

impl Slot {
    pub(super) fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl Pointers {
    pub(super) fn slots(&self) -> usize {
        self.wants.len()
    }

    pub(super) fn slot(&self, node: u16) -> Option<Slot> {
        self.node(node)?.slot
    }

    pub(super) fn limit(&self, slot: Slot) -> usize {
        self.wants.get(slot.index()).map_or(0, |want| want.limit)
    }

    pub(super) fn keep(&self, slot: Slot) -> Keep {
        self.wants.get(slot.index()).map_or(Keep::First, |want| want.keep)
    }

    pub(super) fn has_keys(&self, node: u16) -> bool {
        self.node(node).is_some_and(|node| !node.keys.is_empty())
    }

    pub(super) fn child(&self, node: u16, key: &[u8]) -> u16 {
        let found = self.node(node).and_then(|node| node.keys.iter().find(|(name, _)| **name == *key));
        found.map_or(NO_NODE, |(_, child)| *child)
    }

    pub(super) fn element(&self, node: u16) -> u16 {
        self.node(node).and_then(|node| node.element).unwrap_or(NO_NODE)
    }

    fn node(&self, node: u16) -> Option<&Node> {
        self.nodes.get(usize::from(node))
    }
}
