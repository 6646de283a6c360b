//! A list that mostly has one item, which then needs no memory of its own.

/// No item, one, or more.
#[derive(Debug, Clone)]
pub(in crate::detect) struct Few<T>(Held<T>);

#[derive(Debug, Clone)]
enum Held<T> {
    One(T),
    Many(Vec<T>),
}

impl<T> Default for Few<T> {
    fn default() -> Self {
        Self(Held::Many(Vec::new()))
    }
}

impl<T: PartialEq> PartialEq for Few<T> {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl<T> Few<T> {
    /// The items.
    pub(in crate::detect) fn as_slice(&self) -> &[T] {
        match &self.0 {
            Held::One(one) => std::slice::from_ref(one),
            Held::Many(all) => all,
        }
    }

    /// The items, to be changed.
    pub(in crate::detect) fn as_mut_slice(&mut self) -> &mut [T] {
        match &mut self.0 {
            Held::One(one) => std::slice::from_mut(one),
            Held::Many(all) => all,
        }
    }

    /// Puts an item before the one `at` this place, or at the end.
    pub(in crate::detect) fn insert(&mut self, at: usize, item: T) {
        match std::mem::take(self).0 {
            Held::Many(all) if all.is_empty() => self.0 = Held::One(item),
            Held::Many(mut all) => {
                all.insert(at.min(all.len()), item);
                self.0 = Held::Many(all);
            }
            Held::One(one) => self.0 = Held::Many(if at == 0 { vec![item, one] } else { vec![one, item] }),
        }
    }

    /// Takes the last item away.
    pub(in crate::detect) fn pop(&mut self) -> Option<T> {
        match std::mem::take(self).0 {
            Held::One(one) => Some(one),
            Held::Many(mut all) => {
                let last = all.pop();
                self.0 = Held::Many(all);
                last
            }
        }
    }

    /// The items one after the other.
    pub(in crate::detect) fn into_iter(self) -> impl Iterator<Item = T> {
        let (one, all) = match self.0 {
            Held::One(one) => (Some(one), Vec::new()),
            Held::Many(all) => (None, all),
        };
        one.into_iter().chain(all)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_list(acts in prop::collection::vec(prop::option::of(0..5usize), 0..20)) {
            let (mut few, mut list) = (Few::default(), Vec::new());
            for (item, act) in acts.into_iter().enumerate() {
                match act {
                    Some(at) => {
                        few.insert(at, item);
                        list.insert(at.min(list.len()), item);
                    }
                    None => prop_assert_eq!(few.pop(), list.pop()),
                }
                prop_assert_eq!(few.as_slice(), &list);
                prop_assert_eq!(few.as_mut_slice(), &mut list[..]);
                prop_assert_eq!(few.clone().into_iter().collect::<Vec<_>>(), list.clone());
            }
        }
    }
}
